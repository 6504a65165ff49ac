// layer_norm_backward: dx (+)= rstd · (g − mean(g) − x̂ · mean(g · x̂)),   g = dy · weight, x̂ = (x − mean) · rstd
//   x, dy, dx (R, C)   weight (C)   stats (R, 2): mean, rstd   all f32, but dy may be f16
// One workgroup per row; its invocations stride over the row, once for the two means and once for the result.
// Any R, any C.
// Tuned: ElementDy: the element type of dy.
requires immediate_address_space;

alias ElementDy = f32; // tune

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { R: u32, C: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<ElementDy>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> stats: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
var<immediate> p: Params;

var<workgroup> partial: array<vec2f, WG>;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.y * groups.x + group.x;
  let inside = row < p.R;
  let at = min(row, p.R - 1u); // a surplus workgroup repeats the last row and does not store it
  let base = at * p.C;
  let mean = stats[at].x;
  let rstd = stats[at].y;
  var sums = vec2f(0.0);
  for (var c = local; c < p.C; c += WG) {
    let g = f32(dy[base + c]) * weight[c];
    sums += vec2f(g, g * (x[base + c] - mean) * rstd);
  }
  partial[local] = sums;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (local < half) { partial[local] += partial[local + half]; }
    workgroupBarrier();
  }
  let means = partial[0] / f32(p.C);
  if (!inside) { return; }
  for (var c = local; c < p.C; c += WG) {
    let g = f32(dy[base + c]) * weight[c];
    var value = rstd * (g - means.x - (x[base + c] - mean) * rstd * means.y);
    if (ACCUMULATE) { value += dx[base + c]; }
    dx[base + c] = value;
  }
}
