// mix_forward: x[b] ← w x[b] + (1 − w) x[B−1−b],   w = 0 inside of the plan's box, its weight outside
//   x (B, C, H, W) f32, in place   plan: its header, see src/ops/batch_plan.ts (weight, box)
// One invocation per element of the first half of the batch (and of the middle image, which meets itself): it writes both
//   of the pair, so that none reads what another has written. Mixup is an empty box and the weight λ, cutmix a box and the
//   weight 1, no mixing an empty box and the weight 1: the same images, bit for bit. Partners as timm's x.flip(0).
// Any sizes.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;

struct Params { B: u32, C: u32, H: u32, W: u32 }

@group(0) @binding(0) var<storage, read> plan: array<u32>;
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  let image = p.C * p.H * p.W;
  let b = i / image;
  if (b >= (p.B + 1u) / 2u) { return; }
  let partner = (p.B - 1u - b) * image + i % image;
  let row = i / p.W % p.H;
  let column = i % p.W;
  let inside = row >= plan[4] && row < plan[5] && column >= plan[6] && column < plan[7];
  let w = select(bitcast<f32>(plan[3]), 0.0, inside);
  let mine = x[i];
  let theirs = x[partner];
  x[i] = w * mine + (1.0 - w) * theirs;
  if (partner != i) { x[partner] = w * theirs + (1.0 - w) * mine; }
}
