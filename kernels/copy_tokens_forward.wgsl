// copy_tokens_forward: y[b, to + n, c] (+)= x[b, source + n, c] for n < count;   x (B, N, C)   y (B, M, C)   all f32
// One invocation per element of y; tokens of y outside to..to+count-1 are left alone, or with ZERO set to zero.
//   It prepends a token (shared by the batch when x has B = 1: `batch_stride` 0), takes one, and does either backwards.
// Any sizes.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
override ACCUMULATE: bool = false;
override ZERO: bool = false;

struct Params { B: u32, M: u32, C: u32, count: u32, source: u32, to: u32, batch_stride: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.B * p.M * p.C) { return; }
  let token = i / p.C % p.M;
  let batch = i / (p.C * p.M);
  if (token < p.to || token >= p.to + p.count) {
    if (ZERO && !ACCUMULATE) { y[i] = 0.0; }
    return;
  }
  var value = x[batch * p.batch_stride + (p.source + token - p.to) * p.C + i % p.C];
  if (ACCUMULATE) { value += y[i]; }
  y[i] = value;
}
