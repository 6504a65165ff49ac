// muon_polynomial_step: s[b] ← α I + β a[b] + γ s[b],   a, s (batch, C, C)   all f32
//   With a = x·xᵀ and s = a·a, the product s·x is then the odd polynomial α x + β (x xᵀ) x + γ (x xᵀ)² x of Newton and Schulz.
// One workgroup per row, which avoids integer division: software adapters divide lane by lane.
// Any batch and C.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 32u;

struct Params { rows: u32, C: u32, alpha: f32, beta: f32, gamma: f32 }

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> s: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  let diagonal = row % p.C;
  for (var c = local; c < p.C; c += WG) {
    let i = row * p.C + c;
    s[i] = select(0.0, p.alpha, c == diagonal) + p.beta * a[i] + p.gamma * s[i];
  }
}
