// layer_norm_forward_subgroup: y = (x − mean) · rstd · weight + bias,   rstd = 1/√(var + eps), var = Σ(x − mean)²/C
//   x, y (R, C)   weight, bias (C)   stats (R, 2): mean, rstd   all f32
// One subgroup per row, so no barrier; lanes stride the row by quads, once for the mean, once for the variance (a
//   one-pass variance cancels in float32 when the mean is large), once for the result.
// Any R, C a multiple of four.
// Tuned: nothing.
enable subgroups;
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { R: u32, quads: u32, eps: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> stats: array<vec2f>;
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
  let n = f32(4u * p.quads);
  var sum = vec4f(0.0);
  for (var c = lane; c < p.quads; c += lanes) { sum += x[base + c]; }
  let mean = subgroupAdd(sum.x + sum.y + (sum.z + sum.w)) / n;
  var square = vec4f(0.0);
  for (var c = lane; c < p.quads; c += lanes) {
    let d = x[base + c] - mean;
    square += d * d;
  }
  let rstd = inverseSqrt(subgroupAdd(square.x + square.y + (square.z + square.w)) / n + p.eps);
  if (row >= p.R) { return; }
  for (var c = lane; c < p.quads; c += lanes) {
    y[base + c] = (x[base + c] - mean) * rstd * weight[c] + bias[c];
  }
  if (lane == 0u) { stats[row] = vec2f(mean, rstd); }
}
