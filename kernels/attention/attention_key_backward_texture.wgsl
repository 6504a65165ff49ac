// attention_key_backward_texture: dk[j] = scale · Σ_i ds[i, j] q[i],   dv[j] = Σ_i keep[i, j] p[i, j] do[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again; ds as in attention_query_backward_texture
//   qkv, dqkv (B, N, 3, H, 4·HEAD4)   dout (B, N, H, 4·HEAD4)   lse, delta (B, H, N)   key (2)   all f32 but the key, u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One subgroup per LANES·ROWS keys, head and image. Lane l owns keys l, l + LANES, ...; queries and their gradients come in
//   tiles, as in attention_forward_texture. Writes the k and v parts of dqkv.
// Head dimension a multiple of 4 up to 64; workgroup = one subgroup of LANES lanes.
// Tuned: LANES (the adapter's subgroup size), HEAD4 (a quarter of the head dimension), ROWS, TILE (4 or 8, at most LANES).
import package::attention::dropout::{kept_weight};
import package::attention::mask::{seen};
import package::attention::tiles::{combine, fetched, products, Rows, Tile, Weights};
import package::lib::texel::{texel};
enable subgroups;
requires immediate_address_space;

const LANES = 16u; // tune
const HEAD4 = 16u; // tune
const ROWS = 3u; // tune
const TILE = 8u; // tune
override DROPOUT: bool = false;
override MASKED: bool = false;

struct Params { N: u32, H: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var qkv: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var dout: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let rows = (group.z * p.H + group.y) * p.N;
  let first = group.x * LANES * ROWS + lane;
  var k: Rows;
  var v: Rows;
  var dk: Rows;
  var dv: Rows;
  var one: array<f32, ROWS>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let at = image + min(first + LANES * r, p.N - 1u) * 3u * width + width;
    // unroll
    for (var d = 0u; d < HEAD4; d++) {
      k[HEAD4 * r + d] = p.scale * texel(qkv, at + d);
      v[HEAD4 * r + d] = texel(qkv, at + width + d);
    }
    one[r] = 1.0;
  }
  for (var i0 = 0u; i0 < p.N; i0 += TILE) {
    let left = p.N - i0;
    let i = min(i0 + lane % TILE, p.N - 1u);
    var queries: Tile = fetched(qkv, image + i * 3u * width, lane);
    var dy: Tile = fetched(dout, (group.z * p.N + i) * width + group.y * HEAD4, lane);
    let log_mass = lse[rows + i];
    let d_sum = delta[rows + i];
    var s = Weights();
    var dp = Weights();
    products(&s, &k, &queries, left);
    products(&dp, &v, &dy, left);
    // unroll
    for (var l = 0u; l < TILE; l++) {
      let row_mass = subgroupBroadcast(log_mass, l);
      let row_sum = subgroupBroadcast(d_sum, l);
      // unroll
      for (var r = 0u; r < ROWS; r++) {
        let inside = l < left && seen(i0 + l, first + LANES * r);
        let weight = select(0.0, exp(s[TILE * r + l] - row_mass), inside);
        let keep = kept_weight(rows + i0 + l, min(first + LANES * r, p.N - 1u));
        dp[TILE * r + l] = weight * (keep * dp[TILE * r + l] - row_sum);
        s[TILE * r + l] = keep * weight;
      }
    }
    combine(&dk, &one, &dp, &queries, left);
    combine(&dv, &one, &s, &dy, left);
  }
  // More than 32 elements: an array that a loop indexes stays in memory, so the stores take one loop.
  var out: array<vec4f, max(64u, 2u * HEAD4 * ROWS)>;
  // unroll
  for (var x = 0u; x < HEAD4 * ROWS; x++) {
    out[2u * x] = p.scale * dk[x];
    out[2u * x + 1u] = dv[x];
  }
  for (var x = 0u; x < min(2u * HEAD4 * ROWS, arrayLength(&dqkv)); x++) {
    let j = first + LANES * (x / 2u / HEAD4);
    if (j < p.N) { dqkv[image + j * 3u * width + width * (1u + x % 2u) + x / 2u % HEAD4] = out[x]; }
  }
}
