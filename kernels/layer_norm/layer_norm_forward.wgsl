// layer_norm_forward: y = (x − mean) · rstd · weight + bias,   rstd = 1/√(var + eps), var = Σ(x − mean)²/C
//   x, y (R, C)   weight, bias (C)   stats (R, 2): mean, rstd   all f32, but y may be f16
// One workgroup per row; its invocations stride over the row: once for the mean, once for the variance (a one-pass
//   variance cancels in float32 when the mean is large) and once for the result.
// Any R, any C.
// Tuned: ElementY: the element type of y.
requires immediate_address_space;

alias ElementY = f32; // tune

override WG: u32 = 64u;

struct Params { R: u32, C: u32, eps: f32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<ElementY>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2f>;
var<immediate> p: Params;

var<workgroup> partial: array<f32, WG>;

fn workgroup_sum(local: u32, mine: f32) -> f32 {
  partial[local] = mine;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (local < half) { partial[local] += partial[local + half]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.y * groups.x + group.x;
  let inside = row < p.R;
  let base = min(row, p.R - 1u) * p.C; // a surplus workgroup repeats the last row and does not store it
  var sum = 0.0;
  for (var c = local; c < p.C; c += WG) { sum += x[base + c]; }
  let mean = workgroup_sum(local, sum) / f32(p.C);
  var square = 0.0;
  for (var c = local; c < p.C; c += WG) {
    let d = x[base + c] - mean;
    square += d * d;
  }
  let rstd = inverseSqrt(workgroup_sum(local, square) / f32(p.C) + p.eps);
  if (!inside) { return; }
  for (var c = local; c < p.C; c += WG) { y[base + c] = ElementY((x[base + c] - mean) * rstd * weight[c] + bias[c]); }
  if (local == 0u) { stats[row] = vec2f(mean, rstd); }
}
