// mean_tokens_backward: dx[b, n, c] (+)= dy[b, c] / (N − skip) for n ≥ skip, else 0,   dx (B, N, C)   dy (B, C)   all f32
// One workgroup per token of dx, which avoids integer division.
// Any B, N, C; skip below N.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { B: u32, N: u32, C: u32, skip: u32 }

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.B * p.N) { return; }
  let batch = row / p.N;
  let counted = row % p.N >= p.skip;
  for (var c = local; c < p.C; c += WG) {
    let i = row * p.C + c;
    var value = select(0.0, dy[batch * p.C + c] / f32(p.N - p.skip), counted);
    if (ACCUMULATE) { value += dx[i]; }
    dx[i] = value;
  }
}
