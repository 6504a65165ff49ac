// mean_tokens_forward: y[b, c] = Σ_n x[b, n, c] / (N − skip) for n ≥ skip,   x (B, N, C)   y (B, C)   all f32
// One invocation per output element; tokens in order.
// Any B, N, C; skip below N.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { B: u32, N: u32, C: u32, skip: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.B * p.C) { return; }
  let base = i / p.C * p.N * p.C + i % p.C;
  var sum = 0.0;
  for (var n = p.skip; n < p.N; n++) { sum += x[base + n * p.C]; }
  y[i] = sum / f32(p.N - p.skip);
}
