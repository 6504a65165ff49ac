// keep_tokens_forward: y[b, places[b, n], c] = x[b, n, c] for places[b, n] < M;   x (B, N, C)   y (B, M, C)   f32   places (B, N)   u32
// One workgroup per token of x, which avoids integer division. The places of an image are a permutation of 0 … N − 1, so every
//   token of y is written once.
// Any B, N, M up to N, C.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { B: u32, N: u32, M: u32, C: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.B * p.N) { return; }
  let place = places[row];
  if (place >= p.M) { return; }
  let base = (row / p.N * p.M + place) * p.C;
  for (var c = local; c < p.C; c += WG) { y[base + c] = x[row * p.C + c]; }
}
