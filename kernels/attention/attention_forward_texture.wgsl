// attention_forward_texture: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),   lse[i] = log Σ_j exp(scale · q[i]·k[j])
//   qkv (B, N, 3, H, 4·HEAD4)   o (B, N, H, 4·HEAD4)   lse (B, H, N)   key (2): seed, step   all f32 but the key, u32
// One subgroup per LANES queries, head and image; lane l owns query l of them: its scores, its running maximum and its
//   output are in its registers, so the softmax needs no exchange. Lane l also fetches key and value l of each tile of LANES
//   keys from a texture, and all lanes get them by constant-lane broadcasts (see matmul_forward_texture).
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
@group(0) @binding(2) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let i = group.x * LANES + lane;
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let q = image + min(i, p.N - 1u) * 3u * width;
  let row = (group.z * p.H + group.y) * p.N + i;
  var acc: array<vec4f, 16>;
  var highest = -3.402823466e38;
  var mass = 0.0;
  for (var j0 = 0u; j0 < p.N; j0 += LANES) {
    let left = p.N - j0;
    let k = image + min(j0 + lane, p.N - 1u) * 3u * width + width;
    var s = array<f32, 16>();
    for (var d = 0u; d < min(HEAD4, textureDimensions(qkv).x); d++) { dots(&s, left, texel(qkv, q + d), texel(qkv, k + d)); }
    var now = highest;
    for (var l = 0u; l < LANES; l++) {
      s[l] = select(-3.402823466e38, p.scale * s[l], j0 + l < p.N);
      now = max(now, s[l]);
    }
    let shrink = exp(highest - now);
    highest = now;
    mass *= shrink;
    for (var l = 0u; l < LANES; l++) {
      s[l] = exp(s[l] - now);
      mass += s[l];
      if (DROPOUT) { s[l] *= kept_weight(row, j0 + l); }
    }
    let v = k + width;
    combine_rows(&acc, shrink, &s, left, qkv, v);
  }
  if (i >= p.N) { return; }
  var out: array<vec4f, 16>;
  for (var d = 0u; d < 16u; d++) { out[d] = acc[d]; }
  let at = (group.z * p.N + i) * width + group.y * HEAD4;
  for (var d = 0u; d < min(HEAD4, arrayLength(&o)); d++) { o[at + d] = out[d] / mass; }
  lse[row] = highest + log(mass);
}
