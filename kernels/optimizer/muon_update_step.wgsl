// muon_update_step: p ← p − lr·wd·p − lr·factor · x[at + i],   lr = step[4] · scale
//   parameter (n)   x (at least at + n): orthogonalised   clip (2): norm, coefficient; with the coefficient 0 nothing changes
//   step: see STEP in src/ops/step_state.ts   all f32
// One invocation per element.
// Any n and `at`.   As torch.optim.Muon (Jordan et al., 2024).
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;

struct Params { n: u32, at: u32, factor: f32, weight_decay: f32, scale: f32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameter: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.n || clip[1] == 0.0) { return; }
  let lr = step[4] * p.scale;
  let old = parameter[i];
  parameter[i] = old - lr * p.weight_decay * old - lr * p.factor * x[p.at + i];
}
