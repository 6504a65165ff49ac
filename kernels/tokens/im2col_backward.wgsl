// im2col_backward: dx[b, c, h, w] (+)= Σ dy over the patches that contain the pixel (col2im)
//   dx (B, C, H, W), or with TOKENS (B, H·W, C)   dy (B, outH·outW, C·PH·PW)   all f32
// One invocation per pixel and channel gathers from the patches in order, so no two invocations write to the same place.
// Any patch, stride and padding.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
override ACCUMULATE: bool = false;
override TOKENS: bool = false;

struct Params {
  n: u32, C: u32, H: u32, W: u32, PH: u32, PW: u32, SH: u32, SW: u32, padH: u32, padW: u32, outH: u32, outW: u32,
}

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let at = (group.y * groups.x + group.x) * WG + local;
  if (at >= p.n) { return; }
  let pixel = select(at, at / p.C, TOKENS);
  let column = pixel % p.W + p.padW;
  let row = pixel / p.W % p.H + p.padH;
  let c = select(at / (p.W * p.H), at, TOKENS) % p.C;
  let b = at / (p.W * p.H * p.C);
  // Patches oy with oy·SH ≤ row < oy·SH + PH.
  let oy_last = min(row / p.SH, p.outH - 1u);
  let ox_last = min(column / p.SW, p.outW - 1u);
  let oy_first = select(0u, (row - p.PH) / p.SH + 1u, row >= p.PH);
  let ox_first = select(0u, (column - p.PW) / p.SW + 1u, column >= p.PW);
  var sum = 0.0;
  for (var oy = oy_first; oy <= oy_last; oy++) {
    for (var ox = ox_first; ox <= ox_last; ox++) {
      let i = row - oy * p.SH;
      let j = column - ox * p.SW;
      sum += dy[(((b * p.outH + oy) * p.outW + ox) * p.C + c) * p.PH * p.PW + i * p.PW + j];
    }
  }
  if (ACCUMULATE) { sum += dx[at]; }
  dx[at] = sum;
}
