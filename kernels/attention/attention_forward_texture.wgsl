// attention_forward_texture: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),   lse[i] = log Σ_j exp(scale · q[i]·k[j])
//   qkv (B, N, 3, H, 4·HEAD4)   o (B, N, H, 4·HEAD4)   lse (B, H, N)   key (2): seed, step   all f32 but the key, u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One subgroup per LANES·ROWS queries, head and image. Lane l owns queries l, l + LANES, ...: their running maxima and outputs
//   are in its registers, so the softmax exchanges nothing. Keys and values come from a texture in tiles, see tiles.wgsl.
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
@group(0) @binding(2) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
var<immediate> p: Params;

const LOWEST = -3.402823466e38;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let rows = (group.z * p.H + group.y) * p.N;
  let first = group.x * LANES * ROWS + lane;
  var q: Rows;
  var sums: Rows;
  var highest: array<f32, ROWS>;
  var mass: array<f32, ROWS>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    let at = image + min(first + LANES * r, p.N - 1u) * 3u * width;
    // unroll
    for (var d = 0u; d < HEAD4; d++) { q[HEAD4 * r + d] = p.scale * texel(qkv, at + d); }
    highest[r] = LOWEST;
  }
  for (var j0 = 0u; j0 < p.N; j0 += TILE) {
    let left = p.N - j0;
    let k = image + min(j0 + lane % TILE, p.N - 1u) * 3u * width + width;
    var tile: Tile = fetched(qkv, k, lane);
    var s = Weights();
    products(&s, &q, &tile, left);
    var shrink: array<f32, ROWS>;
    // unroll
    for (var r = 0u; r < ROWS; r++) {
      var now = highest[r];
      // unroll
      for (var j = 0u; j < TILE; j++) {
        s[TILE * r + j] = select(LOWEST, s[TILE * r + j], j < left && seen(first + LANES * r, j0 + j));
        now = max(now, s[TILE * r + j]);
      }
      shrink[r] = exp(highest[r] - now);
      highest[r] = now;
      mass[r] *= shrink[r];
      // unroll
      for (var j = 0u; j < TILE; j++) {
        s[TILE * r + j] = exp(s[TILE * r + j] - now);
        mass[r] += s[TILE * r + j];
      }
      if (DROPOUT) {
        // unroll
        for (var b = 0u; b < TILE / 4u; b++) {
          let kept = kept_quad(rows + first + LANES * r, j0 / 4u + b);
          // unroll
          for (var j = 0u; j < 4u; j++) { s[TILE * r + 4u * b + j] *= kept[j]; }
        }
      }
    }
    tile = fetched(qkv, k + width, lane);
    combine(&sums, &shrink, &s, &tile, left);
  }
  // More than 32 elements: an array that a loop indexes stays in memory, so the stores take one loop.
  var out: array<vec4f, max(64u, HEAD4 * ROWS)>;
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    // unroll
    for (var d = 0u; d < HEAD4; d++) { out[HEAD4 * r + d] = sums[HEAD4 * r + d] / mass[r]; }
  }
  for (var x = 0u; x < min(HEAD4 * ROWS, arrayLength(&o)); x++) {
    let i = first + LANES * (x / HEAD4);
    if (i < p.N) { o[(group.z * p.N + i) * width + group.y * HEAD4 + x % HEAD4] = out[x]; }
  }
  // unroll
  for (var r = 0u; r < ROWS; r++) {
    if (first + LANES * r < p.N) { lse[rows + first + LANES * r] = highest[r] + log(mass[r]); }
  }
}
