// cross_entropy_backward: dlogits (+)= dloss · (p · Σt − t) / R,   t = (1 − ε) target + ε/K
//   probabilities p, dlogits (R, K)   target (R) class indices, u32, or with SOFT (R, K) f32   dloss (1), of the mean loss
// One invocation per row. Σt is 1 for class indices; soft targets need not sum to one.
// Any R, any K.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override SOFT: bool = false;
override ACCUMULATE: bool = false;

struct Params { R: u32, K: u32, smoothing: f32 }

@group(0) @binding(0) var<storage, read> probabilities: array<f32>;
@group(0) @binding(1) var<storage, read> target_bits: array<u32>;
@group(0) @binding(2) var<storage, read> dloss: array<f32>;
@group(0) @binding(3) var<storage, read_write> dlogits: array<f32>;
var<immediate> p: Params;

fn wanted(row: u32, k: u32) -> f32 {
  var hard: f32;
  if (SOFT) { hard = bitcast<f32>(target_bits[row * p.K + k]); } else { hard = select(0.0, 1.0, target_bits[row] == k); }
  return (1.0 - p.smoothing) * hard + p.smoothing / f32(p.K);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.x * WG + local;
  if (row >= p.R) { return; }
  let base = row * p.K;
  let scale = dloss[0] / f32(p.R);
  var mass = 1.0;
  if (SOFT) {
    mass = 0.0;
    for (var k = 0u; k < p.K; k++) { mass += wanted(row, k); }
  }
  for (var k = 0u; k < p.K; k++) {
    var value = scale * (probabilities[base + k] * mass - wanted(row, k));
    if (ACCUMULATE) { value += dlogits[base + k]; }
    dlogits[base + k] = value;
  }
}
