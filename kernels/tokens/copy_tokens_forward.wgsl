// copy_tokens_forward: y[b, to + n, c] (+)= x[b, source + n, c] for n < count;   x (B, N, C)   y (B, M, C)   all f32
// One workgroup per token of y, which avoids integer division. Other tokens of y are not written or, with ZERO, set to 0.
//   Used to prepend a token (`batch_stride` 0: the same for the whole batch), to take one, and for the backward pass of both.
// Any sizes.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override ACCUMULATE: bool = false;
override ZERO: bool = false;

struct Params { B: u32, M: u32, C: u32, count: u32, source: u32, to: u32, batch_stride: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.B * p.M) { return; }
  let batch = row / p.M;
  let token = row % p.M;
  let inside = token >= p.to && token < p.to + p.count;
  let base = batch * p.batch_stride + (p.source + token - p.to) * p.C;
  for (var c = local; c < p.C; c += WG) {
    let i = row * p.C + c;
    if (inside) {
      var value = x[base + c];
      if (ACCUMULATE) { value += y[i]; }
      y[i] = value;
    } else if (ZERO && !ACCUMULATE) {
      y[i] = 0.0;
    }
  }
}
