// attention_query_backward_texture: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta),   delta[i] = do[i]·o[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again   qkv, dqkv (B, N, 3, H, 4·HEAD4)   o, dout (B, N, H, 4·HEAD4)
//   lse, delta (B, H, N)   key (2): seed, step   all f32 but the key, u32
// One subgroup per LANES queries, head and image; lane l owns query l of them and fetches key and value l of each tile
//   of LANES keys, as in attention_forward_texture. Writes the q part of dqkv, and delta for the pass over keys.
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
@group(0) @binding(2) var o: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var dout: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let i = group.x * LANES + lane;
  let inside = min(i, p.N - 1u);
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let q = image + inside * 3u * width;
  let dy = (group.z * p.N + inside) * width + group.y * HEAD4;
  let row = (group.z * p.H + group.y) * p.N + inside;
  let head4 = min(HEAD4, textureDimensions(qkv).x); // the compiler does not know this bound, so it does not unroll the loop
  var d_sum = 0.0;
  for (var d = 0u; d < head4; d++) { d_sum += dot(texel(dout, dy + d), texel(o, dy + d)); }
  let log_mass = lse[row];
  var acc: array<vec4f, 16>;
  for (var j0 = 0u; j0 < p.N; j0 += LANES) {
    let left = p.N - j0;
    let k = image + min(j0 + lane, p.N - 1u) * 3u * width + width;
    var s = array<f32, 16>();
    var dp = array<f32, 16>();
    for (var d = 0u; d < head4; d++) { dots(&s, left, texel(qkv, q + d), texel(qkv, k + d)); }
    for (var d = 0u; d < head4; d++) { dots(&dp, left, texel(dout, dy + d), texel(qkv, k + width + d)); }
    for (var l = 0u; l < LANES; l++) {
      let weight = select(0.0, exp(p.scale * s[l] - log_mass), j0 + l < p.N);
      s[l] = weight * (kept_weight(row, j0 + l) * dp[l] - d_sum);
    }
    combine_rows(&acc, 1.0, &s, left, qkv, k);
  }
  if (i >= p.N) { return; }
  var out: array<vec4f, 16>;
  for (var d = 0u; d < 16u; d++) { out[d] = acc[d]; }
  for (var d = 0u; d < head4; d++) { dqkv[q + d] = p.scale * out[d]; }
  delta[row] = d_sum;
}
