// layer_norm_backward_subgroup: dx (+)= rstd · (g − mean(g) − x̂ · mean(g · x̂)),   g = dy · weight, x̂ = (x − mean) · rstd
//   x, dy, dx (R, C)   weight (C)   stats (R, 2): mean, rstd   all f32
// One subgroup per row, so no barrier; lanes stride the row by quads, once for the two means, once for the result.
// Any R, C a multiple of four.
// Tuned: nothing.
enable subgroups;
requires immediate_address_space;

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { R: u32, quads: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read> stats: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) lane: u32,
  @builtin(subgroup_size) lanes: u32,
) {
  let row = (group.y * groups.x + group.x) * (WG / lanes) + local / lanes;
  let at = min(row, p.R - 1u); // a surplus subgroup repeats the last row and stores nothing
  let base = at * p.quads;
  let mean = stats[at].x;
  let rstd = stats[at].y;
  var sum = vec4f(0.0);
  var product = vec4f(0.0);
  for (var c = lane; c < p.quads; c += lanes) {
    let g = dy[base + c] * weight[c];
    sum += g;
    product += g * (x[base + c] - mean) * rstd;
  }
  let n = f32(4u * p.quads);
  let mean_g = subgroupAdd(sum.x + sum.y + (sum.z + sum.w)) / n;
  let mean_gx = subgroupAdd(product.x + product.y + (product.z + product.w)) / n;
  if (row >= p.R) { return; }
  for (var c = lane; c < p.quads; c += lanes) {
    let g = dy[base + c] * weight[c];
    var value = rstd * (g - mean_g - (x[base + c] - mean) * rstd * mean_gx);
    if (ACCUMULATE) { value += dx[base + c]; }
    dx[base + c] = value;
  }
}
