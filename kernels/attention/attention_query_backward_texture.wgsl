// attention_query_backward_texture: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta),   delta[i] = do[i]·o[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again   qkv, dqkv (B, N, 3, H, 4·HEAD4)   o, dout (B, N, H, 4·HEAD4)
//   lse, delta (B, H, N)   key (2): seed, step   all f32 but the key, u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One subgroup per LANES·ROWS queries, head and image. Lane l owns queries l, l + LANES, ...; keys and values come in tiles, as
//   in attention_forward_texture. Writes the q part of dqkv, and delta for the pass over keys.
// Head dimension a multiple of 4 up to 64; workgroup = one subgroup of LANES lanes.
// Tuned: LANES (the adapter's subgroup size), HEAD4 (a quarter of the head dimension), ROWS, TILE (4 or 8, at most LANES).
import package::attention::dropout::{kept_quad};
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
@group(0) @binding(2) var o: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var dout: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let rows = (group.z * p.H + group.y) * p.N;
  let first = group.x * LANES * ROWS + lane;
  var q: Rows;
  var dy: Rows;
  var sums: Rows;
  var log_mass: array<f32, ROWS>;
  var d_sum: array<f32, ROWS>;
  var one: array<f32, ROWS>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let i = min(first + LANES * r, p.N - 1u);
    let at = image + i * 3u * width;
    let dy_at = (group.z * p.N + i) * width + group.y * HEAD4;
    // unroll
    for (var d = 0u; d < HEAD4; d++) {
      q[HEAD4 * r + d] = p.scale * texel(qkv, at + d);
      dy[HEAD4 * r + d] = texel(dout, dy_at + d);
      d_sum[r] += dot(dy[HEAD4 * r + d], texel(o, dy_at + d));
    }
    log_mass[r] = lse[rows + i];
    one[r] = 1.0;
  }
  for (var j0 = 0u; j0 < p.N; j0 += TILE) {
    let left = p.N - j0;
    let k = image + min(j0 + lane % TILE, p.N - 1u) * 3u * width + width;
    var keys: Tile = fetched(qkv, k, lane);
    var values: Tile = fetched(qkv, k + width, lane);
    var s = Weights();
    var dp = Weights();
    products(&s, &q, &keys, left);
    products(&dp, &dy, &values, left);
    // unroll
    for (var r = 0u; r < ROWS; r++) {
      // unroll
      for (var b = 0u; b < TILE / 4u; b++) {
        let kept = kept_quad(rows + min(first + LANES * r, p.N - 1u), j0 / 4u + b);
        // unroll
        for (var j = 0u; j < 4u; j++) {
          let at = TILE * r + 4u * b + j;
          let inside = 4u * b + j < left && seen(first + LANES * r, j0 + 4u * b + j);
          let weight = select(0.0, exp(s[at] - log_mass[r]), inside);
          s[at] = weight * (kept[j] * dp[at] - d_sum[r]);
        }
      }
    }
    combine(&sums, &one, &s, &keys, left);
  }
  // More than 32 elements: an array that a loop indexes stays in memory, so the stores take one loop.
  var out: array<vec4f, max(64u, HEAD4 * ROWS)>;
  // unroll
  for (var x = 0u; x < HEAD4 * ROWS; x++) { out[x] = p.scale * sums[x]; }
  for (var x = 0u; x < min(HEAD4 * ROWS, arrayLength(&dqkv)); x++) {
    let i = first + LANES * (x / HEAD4);
    if (i < p.N) { dqkv[image + i * 3u * width + x % HEAD4] = out[x]; }
  }
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    if (first + LANES * r < p.N) { delta[rows + first + LANES * r] = d_sum[r]; }
  }
}
