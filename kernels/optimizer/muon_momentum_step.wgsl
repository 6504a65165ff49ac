// muon_momentum_step: m ← β m + (1 − β) g;   x[to + i] = (1 − β) g + β m
//   g is the gradient times the clipping coefficient; x is the direction of Nesterov's momentum
//   gradient, m (n)   clip (2): norm, coefficient   x (at least to + n)   all f32
// One invocation per element. The coefficient 0 stands for a gradient that is not finite, and leaves m as it was.
// Any n and `to`.   As torch.optim.Muon (Jordan et al., 2024).
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
// rest = 1 − β, computed in float64.
struct Params { n: u32, to: u32, beta: f32, rest: f32 }

@group(0) @binding(0) var<storage, read> gradient: array<f32>;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read_write> m: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.n || clip[1] == 0.0) { return; }
  let g = gradient[i] * clip[1];
  let momentum = p.beta * m[i] + p.rest * g;
  m[i] = momentum;
  x[p.to + i] = p.rest * g + p.beta * momentum;
}
