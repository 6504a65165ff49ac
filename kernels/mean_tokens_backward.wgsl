// mean_tokens_backward: dx[b, n, c] (+)= dy[b, c] / (N − skip) for n ≥ skip, else 0,   dx (B, N, C)   dy (B, C)   all f32
// One invocation per element of dx.
// Any B, N, C; skip below N.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
override ACCUMULATE: bool = false;

struct Params { B: u32, N: u32, C: u32, skip: u32 }

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.B * p.N * p.C) { return; }
  var value = dy[i / (p.N * p.C) * p.C + i % p.C] / f32(p.N - p.skip);
  if (i / p.C % p.N < p.skip) { value = 0.0; }
  if (ACCUMULATE) { value += dx[i]; }
  dx[i] = value;
}
