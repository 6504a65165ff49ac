// attention_key_backward_texture: dk[j] = scale · Σ_i ds[i, j] q[i],   dv[j] = Σ_i keep[i, j] p[i, j] do[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again; ds as in attention_query_backward_texture
//   qkv, dqkv (B, N, 3, H, 4·HEAD4)   dout (B, N, H, 4·HEAD4)   lse, delta (B, H, N)   key (2)   all f32 but the key, u32
// One subgroup per LANES keys, head and image; lane l owns key l of them and fetches query l, its gradient, lse and
//   delta of each tile of LANES queries, as in attention_forward_texture. Writes the k and v parts of dqkv.
// Head dimension a multiple of 4 up to 64; workgroup = one subgroup of LANES lanes.
// Tuned: LANES (the adapter's subgroup size), HEAD4 (a quarter of the head dimension).
import package::attention::dropout::{kept_weight};
import package::attention::tiles::{combine_rows, dots};
import package::lib::texel::{texel};
enable subgroups;
requires immediate_address_space;

const LANES = 16u; // tune
const HEAD4 = 16u; // tune
override DROPOUT: bool = false;

struct Params { N: u32, H: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var qkv: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var dout: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4f>;
var<immediate> p: Params;

// s[l] = the value of lane l.
fn spread(s: ptr<function, array<f32, 16>>, mine: f32) {
  // unroll
  for (var l = 0u; l < 8u; l++) { (*s)[l] = subgroupBroadcast(mine, l); }
  if (LANES > 8u) {
    // unroll
    for (var l = 8u; l < 16u; l++) { (*s)[l] = subgroupBroadcast(mine, l); }
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let j = group.x * LANES + lane;
  let inside = min(j, p.N - 1u);
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let k = image + inside * 3u * width + width;
  let rows = (group.z * p.H + group.y) * p.N;
  let head4 = min(HEAD4, textureDimensions(qkv).x); // the compiler does not know this bound, so it does not unroll the loop
  var dk: array<vec4f, 16>;
  var dv: array<vec4f, 16>;
  for (var i0 = 0u; i0 < p.N; i0 += LANES) {
    let left = p.N - i0;
    let i = min(i0 + lane, p.N - 1u);
    let q = image + i * 3u * width;
    let dy = (group.z * p.N + i) * width + group.y * HEAD4;
    var s = array<f32, 16>();
    var dp = array<f32, 16>();
    var log_mass: array<f32, 16>;
    var d_sum: array<f32, 16>;
    for (var d = 0u; d < head4; d++) { dots(&s, left, texel(qkv, k + d), texel(qkv, q + d)); }
    for (var d = 0u; d < head4; d++) { dots(&dp, left, texel(qkv, k + width + d), texel(dout, dy + d)); }
    spread(&log_mass, lse[rows + i]);
    spread(&d_sum, delta[rows + i]);
    for (var l = 0u; l < LANES; l++) {
      let weight = select(0.0, exp(p.scale * s[l] - log_mass[l]), i0 + l < p.N);
      let keep = kept_weight(rows + i0 + l, inside);
      dp[l] = weight * (keep * dp[l] - d_sum[l]);
      s[l] = keep * weight;
    }
    combine_rows(&dk, 1.0, &dp, left, qkv, q);
    combine_rows(&dv, 1.0, &s, left, dout, dy);
  }
  if (j >= p.N) { return; }
  var k_out: array<vec4f, 16>;
  for (var d = 0u; d < 16u; d++) { k_out[d] = dk[d]; }
  for (var d = 0u; d < head4; d++) { dqkv[k + d] = p.scale * k_out[d]; }
  var v_out: array<vec4f, 16>;
  for (var d = 0u; d < 16u; d++) { v_out[d] = dv[d]; }
  for (var d = 0u; d < head4; d++) { dqkv[k + width + d] = v_out[d]; }
}
