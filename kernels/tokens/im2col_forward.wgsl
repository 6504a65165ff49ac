// im2col_forward: y[b, n, (c·PH + i)·PW + j] = x[b, c, oy·SH − padH + i, ox·SW − padW + j],   n = oy·outW + ox
//   x (B, C, H, W), or with TOKENS (B, H·W, C)   y (B, outH·outW, C·PH·PW)   all f32;   zero outside the image
// One workgroup per row of y, so that the patch is computed once. y · weightᵀ with weight (D, C, PH, PW) is
//   torch.nn.functional.conv2d.
// Any stride and padding; C·PH·PW below 2²³ (lib/quotient.wgsl).
// Tuned: nothing.
import package::lib::quotient::{quotient};
requires immediate_address_space;

override WG: u32 = 64u;
override TOKENS: bool = false;

struct Params {
  rows: u32, C: u32, H: u32, W: u32, PH: u32, PW: u32, SH: u32, SW: u32, padH: u32, padW: u32, outH: u32, outW: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let patch_index = group.y * groups.x + group.x;
  if (patch_index >= p.rows) { return; }
  let ox = patch_index % p.outW;
  let oy = patch_index / p.outW % p.outH;
  let b = patch_index / (p.outW * p.outH);
  let area = p.PH * p.PW;
  for (var e = local; e < p.C * area; e += WG) {
    let c = quotient(e, area);
    let i = quotient(e - c * area, p.PW);
    let j = e - c * area - i * p.PW;
    // Unsigned: a coordinate left of or above the image wraps to a huge number, so one comparison tests both sides.
    let row = oy * p.SH + i - p.padH;
    let column = ox * p.SW + j - p.padW;
    var value = 0.0;
    if (row < p.H && column < p.W) {
      value = x[select(((b * p.C + c) * p.H + row) * p.W + column, ((b * p.H + row) * p.W + column) * p.C + c, TOKENS)];
    }
    y[patch_index * p.C * area + e] = value;
  }
}
