// cross_entropy_forward: loss[r] = −Σ_k t[k] · log p[k],   p = softmax(logits[r]),   t = (1 − ε) target + ε/K
//   logits, probabilities (R, K)   target (R) class indices, u32, or with SOFT (R, K) f32   loss (R)
// One invocation per row; log p = x − max − log Σ exp(x − max), never the logarithm of a small number.
// Any R, any K.   As torch.nn.functional.cross_entropy with label_smoothing ε; the mean over rows is taken later.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 64u;
override SOFT: bool = false;

struct Params { R: u32, K: u32, smoothing: f32 }

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> target_bits: array<u32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> probabilities: array<f32>;
var<immediate> p: Params;

fn wanted(row: u32, k: u32) -> f32 {
  if (SOFT) { return bitcast<f32>(target_bits[row * p.K + k]); }
  return select(0.0, 1.0, target_bits[row] == k);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.x * WG + local;
  if (row >= p.R) { return; }
  let base = row * p.K;
  var highest = -3.402823466e38;
  for (var k = 0u; k < p.K; k++) { highest = max(highest, logits[base + k]); }
  var sum = 0.0;
  for (var k = 0u; k < p.K; k++) { sum += exp(logits[base + k] - highest); }
  let log_sum = log(sum);
  let share = p.smoothing / f32(p.K);
  var total = 0.0;
  for (var k = 0u; k < p.K; k++) {
    let log_p = logits[base + k] - highest - log_sum;
    total -= ((1.0 - p.smoothing) * wanted(row, k) + share) * log_p;
    probabilities[base + k] = exp(log_p);
  }
  loss[row] = total;
}
