// keep_tokens_backward: dx[b, n, c] (+)= dy[b, places[b, n], c] where places[b, n] < M, else 0
//   dx (B, N, C)   dy (B, M, C)   f32   places (B, N)   u32
// One workgroup per token of dx, which avoids integer division.
// Any B, N, M up to N, C.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { B: u32, N: u32, M: u32, C: u32 }

@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> places: array<u32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.B * p.N) { return; }
  let place = places[row];
  let kept = place < p.M;
  if (ACCUMULATE && !kept) { return; }
  let base = (row / p.N * p.M + place) * p.C;
  for (var c = local; c < p.C; c += WG) {
    var value = 0.0;
    if (kept) { value = dy[base + c]; }
    if (ACCUMULATE) { value += dx[row * p.C + c]; }
    dx[row * p.C + c] = value;
  }
}
