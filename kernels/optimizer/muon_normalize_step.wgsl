// muon_normalize_step: x[b] ← norm · x[b] / max(‖x[b]‖, 1e-7),   ‖·‖ the Frobenius norm;   x (batch, n)   f32
//   clip (2): norm, coefficient; with GATED and the coefficient 0, of a gradient that is not finite, nothing changes
// One workgroup per matrix; its invocations stride over it, once for the sum of squares and once for the result.
// Any batch and n.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
override GATED: bool = false;

struct Params { batch: u32, n: u32, norm: f32 }

@group(0) @binding(0) var<storage, read> clip: array<f32>; // if GATED
@group(0) @binding(1) var<storage, read_write> x: array<f32>;
var<immediate> p: Params;

var<workgroup> partial: array<f32, WG>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let matrix = group.y * groups.x + group.x;
  let base = min(matrix, p.batch - 1u) * p.n; // a surplus workgroup repeats the last matrix and does not store it
  var sum = 0.0;
  for (var i = local; i < p.n; i += WG) { sum += x[base + i] * x[base + i]; }
  partial[local] = sum;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (local < half) { partial[local] += partial[local + half]; }
    workgroupBarrier();
  }
  let factor = p.norm / max(sqrt(partial[0]), 1e-7);
  if (matrix >= p.batch) { return; }
  if (GATED) {
    if (clip[1] == 0.0) { return; }
  }
  for (var i = local; i < p.n; i += WG) { x[base + i] *= factor; }
}
