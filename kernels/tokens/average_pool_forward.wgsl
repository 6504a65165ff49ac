// average_pool_forward: y[b, c, i, j] = mean of x[b, c, ⌊i·H/outH⌋ … ⌈(i + 1)·H/outH⌉ − 1, the same across]
//   x (B, C, H, W)   y (B, C, outH, outW)   all f32; torch.nn.functional.adaptive_avg_pool2d
// One invocation per element of y.
// Tuned: nothing.
import package::tokens::windows::{window_end, window_start};
requires immediate_address_space;

override WG: u32 = 256u;

struct Params { n: u32, H: u32, W: u32, outH: u32, outW: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (group.y * groups.x + group.x) * WG + local;
  if (at >= p.n) { return; }
  let j = at % p.outW;
  let i = at / p.outW % p.outH;
  let plane = at / (p.outW * p.outH) * p.H * p.W;
  let top = window_start(i, p.H, p.outH);
  let bottom = window_end(i, p.H, p.outH);
  let left = window_start(j, p.W, p.outW);
  let right = window_end(j, p.W, p.outW);
  var sum = 0.0;
  for (var row = top; row < bottom; row++) {
    for (var column = left; column < right; column++) { sum += x[plane + row * p.W + column]; }
  }
  y[at] = sum / f32((bottom - top) * (right - left));
}
