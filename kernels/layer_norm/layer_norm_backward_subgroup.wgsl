// layer_norm_backward_subgroup: dx (+)= rstd · (g − mean(g) − x̂ · mean(g · x̂)),   g = dy · weight, x̂ = (x − mean) · rstd
//   dweight[s] = Σ dy · x̂,   dbias[s] = Σ dy   over the rows of subgroup s: the first stage of two
//   x, dy, dx (R, C)   weight (C)   stats (R, 2): mean, rstd   dweight, dbias (subgroups, C)   all f32, but dy may be f16
// One subgroup for `chunk` rows, one after another, so no barrier. A lane keeps the QUADS quads c ≡ lane of the row and of
//   both sums in registers: x and dy are read once for all three gradients. column_sum_reduce adds the subgroups.
// Accumulation into dx is a parameter, not an override, so that a first step waits for one pipeline and not for two, which compile slowly.
// Any R, C a multiple of four, C/4 at most QUADS · LANES.
// Tuned: LANES (the subgroup size), QUADS (C/4 over LANES, rounded up). ElementDy: the element type of dy.
import package::lib::quad_sum::{quad_sum};
enable subgroups;
enable subgroup_size_control;
requires immediate_address_space;

const LANES = 32u; // tune
const QUADS = 4u; // tune
alias ElementDy = f32; // tune
override WG: u32 = 64u;

struct Params { R: u32, quads: u32, chunk: u32, accumulate: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<ElementDy>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read> stats: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dweight: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> dbias: array<vec4f>;
var<immediate> p: Params;

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let subgroup = (group.y * groups.x + group.x) * (WG / LANES) + local / LANES;
  let n = f32(4u * p.quads);
  var w: array<vec4f, QUADS>;
  var weight_sum: array<vec4f, QUADS>;
  var bias_sum: array<vec4f, QUADS>;
  // unroll
  for (var q = 0u; q < QUADS; q++) {
    let c = lane + q * LANES;
    // Zero beyond the row: the value read there is a copy of the last quad and must not be counted.
    w[q] = select(vec4f(0.0), weight[min(c, p.quads - 1u)], c < p.quads);
  }
  for (var i = 0u; i < p.chunk; i++) {
    let row = subgroup * p.chunk + i;
    let at = min(row, p.R - 1u); // a surplus row repeats the last one and is not counted
    let base = at * p.quads;
    let counted = select(0.0, 1.0, row < p.R);
    let mean = stats[at].x;
    let rstd = stats[at].y;
    var normal = array<vec4f, QUADS>();
    var g = array<vec4f, QUADS>();
    var sum = vec4f(0.0);
    var product = vec4f(0.0);
    // unroll
    for (var q = 0u; q < QUADS; q++) {
      let c = base + min(lane + q * LANES, p.quads - 1u);
      let d = vec4f(dy[c]);
      normal[q] = (x[c] - mean) * rstd;
      g[q] = d * w[q];
      sum += g[q];
      product += g[q] * normal[q];
      weight_sum[q] += counted * d * normal[q];
      bias_sum[q] += counted * d;
    }
    let mean_g = subgroupAdd(quad_sum(sum)) / n;
    let mean_gx = subgroupAdd(quad_sum(product)) / n;
    if (row < p.R) {
      // unroll
      for (var q = 0u; q < QUADS; q++) {
        let c = lane + q * LANES;
        if (c < p.quads) {
          var value = rstd * (g[q] - mean_g - normal[q] * mean_gx);
          if (p.accumulate == 1u) { value += dx[base + c]; }
          dx[base + c] = value;
        }
      }
    }
  }
  if (subgroup * p.chunk >= p.R) { return; }
  // unroll
  for (var q = 0u; q < QUADS; q++) {
    let c = lane + q * LANES;
    if (c < p.quads) {
      dweight[subgroup * p.quads + c] = weight_sum[q];
      dbias[subgroup * p.quads + c] = bias_sum[q];
    }
  }
}
