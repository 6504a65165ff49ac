// diagonal_shifts_backward: dx[b, c, i, j] (+)= Σ_k dy[b, k·C + c, i − r_k·SH, j − s_k·SW], of the places inside
//   (r, s)_k = (0, 0), (−1, −1), (−1, 1), (1, −1), (1, 1);   dx (B, C, H, W)   dy (B, 5·C, H, W)   all f32
// One workgroup per plane of dx. An invocation gathers a pixel from the five shifts in order.
// Any shift; H·W below 2²³ (lib/quotient.wgsl).
// Tuned: nothing.
import package::lib::quotient::{quotient};
requires immediate_address_space;

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { planes: u32, C: u32, H: u32, W: u32, SH: u32, SW: u32 }

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let plane = group.y * groups.x + group.x;
  if (plane >= p.planes) { return; }
  let area = p.H * p.W;
  let first = (plane / p.C * 5u * p.C + plane % p.C) * area;
  for (var e = local; e < area; e += WG) {
    let i = quotient(e, p.W);
    let j = e - i * p.W;
    var sum = dy[first + e];
    for (var k = 1u; k < 5u; k++) {
      // Unsigned: a coordinate above or left of the image wraps to a huge number, so one comparison tests both sides.
      let row = i + select(p.SH, 0u - p.SH, k >= 3u);
      let column = j + select(p.SW, 0u - p.SW, k % 2u == 0u);
      if (row < p.H && column < p.W) { sum += dy[first + k * p.C * area + row * p.W + column]; }
    }
    let at = plane * area + e;
    if (ACCUMULATE) { sum += dx[at]; }
    dx[at] = sum;
  }
}
