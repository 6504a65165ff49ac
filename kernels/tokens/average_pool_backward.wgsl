// average_pool_backward: dx[b, c, h, w] (+)= Σ dy over the windows that contain the pixel, over the size of each window
//   dx (B, C, H, W)   dy (B, C, outH, outW)   all f32
// One invocation per pixel and channel gathers from the windows in order, so no two invocations write to the same place.
// Tuned: nothing.
import package::tokens::windows::{window_end, window_start};
requires immediate_address_space;

override WG: u32 = 256u;
override ACCUMULATE: bool = false;

struct Params { n: u32, H: u32, W: u32, outH: u32, outW: u32 }

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (group.y * groups.x + group.x) * WG + local;
  if (at >= p.n) { return; }
  let column = at % p.W;
  let row = at / p.W % p.H;
  let plane = at / (p.W * p.H) * p.outH * p.outW;
  var sum = 0.0;
  // A pixel lies in window ⌊row·outH/H⌋ and may lie in the ones beside it. The first of them begins at most one before.
  let i0 = max(row * p.outH / p.H, 1u) - 1u;
  let j0 = max(column * p.outW / p.W, 1u) - 1u;
  for (var i = i0; i < p.outH && window_start(i, p.H, p.outH) <= row; i++) {
    let bottom = window_end(i, p.H, p.outH);
    if (row >= bottom) { continue; }
    for (var j = j0; j < p.outW && window_start(j, p.W, p.outW) <= column; j++) {
      let right = window_end(j, p.W, p.outW);
      if (column >= right) { continue; }
      let height = bottom - window_start(i, p.H, p.outH);
      let width = right - window_start(j, p.W, p.outW);
      sum += dy[plane + i * p.outW + j] / f32(height * width);
    }
  }
  if (ACCUMULATE) { sum += dx[at]; }
  dx[at] = sum;
}
