// mix_targets_forward: target[b, k] = λ [k = label[b]] + (1 − λ) [k = label[B−1−b]];   major[b] = label of the larger share
//   label (B) u32   plan: its header, see src/ops/batch_plan.ts (λ)   target (B, K) f32   major (B) u32
// One invocation per element of the targets. Label smoothing comes after, in the loss: as timm's mixup_target.
// Any B, any K.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;

struct Params { B: u32, K: u32 }

@group(0) @binding(0) var<storage, read> label: array<u32>;
@group(0) @binding(1) var<storage, read> plan: array<u32>;
@group(0) @binding(2) var<storage, read_write> target_weights: array<f32>;
@group(0) @binding(3) var<storage, read_write> major: array<u32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.B * p.K) { return; }
  let b = i / p.K;
  let k = i % p.K;
  let share = bitcast<f32>(plan[2]);
  let mine = label[b];
  let theirs = label[p.B - 1u - b];
  target_weights[i] = select(0.0, share, k == mine) + select(0.0, 1.0 - share, k == theirs);
  if (k == 0u) { major[b] = select(theirs, mine, share >= 0.5); }
}
