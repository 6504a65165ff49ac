// layer_norm_forward_subgroup: y = (x − mean) · rstd · weight + bias,   rstd = 1/√(var + eps), var = Σ(x − mean)²/C
//   x, y (R, C)   weight, bias (C)   stats (R, 2): mean, rstd   all f32, but y may be f16
// One subgroup for `chunk` rows, one after another, so no barrier. A lane keeps the QUADS quads c ≡ lane of weight, bias and
//   row in registers. x is read once; the variance sums squared deviations, as a one-pass variance cancels for a large mean.
// Any R, C a multiple of four, C/4 at most QUADS · LANES.
// Tuned: LANES (the subgroup size), QUADS (C/4 over LANES, rounded up). ElementY: the element type of y.
import package::lib::quad_sum::{quad_sum};
enable subgroups;
enable subgroup_size_control;
requires immediate_address_space;

const LANES = 32u; // tune
const QUADS = 4u; // tune
alias ElementY = f32; // tune
override WG: u32 = 64u;

struct Params { R: u32, quads: u32, chunk: u32, eps: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<ElementY>>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2f>;
var<immediate> p: Params;

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let first = ((group.y * groups.x + group.x) * (WG / LANES) + local / LANES) * p.chunk;
  let n = f32(4u * p.quads);
  var w: array<vec4f, QUADS>;
  var b: array<vec4f, QUADS>;
  // unroll
  for (var q = 0u; q < QUADS; q++) {
    let c = min(lane + q * LANES, p.quads - 1u);
    w[q] = weight[c];
    b[q] = bias[c];
  }
  for (var i = 0u; i < p.chunk; i++) {
    let row = first + i;
    let base = min(row, p.R - 1u) * p.quads; // a surplus row repeats the last one and is not stored
    var v = array<vec4f, QUADS>();
    var sum = vec4f(0.0);
    // unroll
    for (var q = 0u; q < QUADS; q++) {
      let c = lane + q * LANES;
      v[q] = select(vec4f(0.0), x[base + min(c, p.quads - 1u)], c < p.quads);
      sum += v[q];
    }
    let mean = subgroupAdd(quad_sum(sum)) / n;
    var square = vec4f(0.0);
    // unroll
    for (var q = 0u; q < QUADS; q++) {
      let d = select(vec4f(0.0), v[q] - mean, lane + q * LANES < p.quads);
      square += d * d;
    }
    let rstd = inverseSqrt(subgroupAdd(quad_sum(square)) / n + p.eps);
    if (row < p.R) {
      // unroll
      for (var q = 0u; q < QUADS; q++) {
        let c = lane + q * LANES;
        if (c < p.quads) { y[base + c] = vec4<ElementY>((v[q] - mean) * rstd * w[q] + b[q]); }
      }
      if (lane == 0u) { stats[row] = vec2f(mean, rstd); }
    }
  }
}
