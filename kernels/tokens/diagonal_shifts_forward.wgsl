// diagonal_shifts_forward: y[b, k·C + c, i, j] = x[b, c, i + r_k·SH, j + s_k·SW]
//   (r, s)_k = (0, 0), (−1, −1), (−1, 1), (1, −1), (1, 1);   x (B, C, H, W)   y (B, 5·C, H, W)   all f32;   zero outside
// One workgroup per plane of y, so that image, shift and channel are computed once.
// Any shift; H·W below 2²³ (lib/quotient.wgsl).
// Tuned: nothing.
import package::lib::quotient::{quotient};
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { planes: u32, C: u32, H: u32, W: u32, SH: u32, SW: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let plane = group.y * groups.x + group.x;
  if (plane >= p.planes) { return; }
  let area = p.H * p.W;
  let k = plane / p.C % 5u;
  let source = (plane / (5u * p.C) * p.C + plane % p.C) * area;
  // Unsigned: a coordinate above or left of the image wraps to a huge number, so one comparison tests both sides.
  let down = select(select(0u - p.SH, p.SH, k >= 3u), 0u, k == 0u);
  let across = select(select(0u - p.SW, p.SW, k % 2u == 0u), 0u, k == 0u);
  for (var e = local; e < area; e += WG) {
    let i = quotient(e, p.W);
    let row = i + down;
    let column = e - i * p.W + across;
    var value = 0.0;
    if (row < p.H && column < p.W) { value = x[source + row * p.W + column]; }
    y[plane * area + e] = value;
  }
}
