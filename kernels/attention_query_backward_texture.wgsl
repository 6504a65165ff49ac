// attention_query_backward_texture: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta),   delta[i] = do[i]·o[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again   qkv, dqkv (B, N, 3, H, 4·HEAD4)   o, dout (B, N, H, 4·HEAD4)
//   lse, delta (B, H, N)   key (2): seed, step   all f32 but the key, u32
// One subgroup per LANES queries, head and image; lane l owns query l of them and fetches key and value l of each tile
//   of LANES keys, as in attention_forward_texture. Writes the q part of dqkv, and delta for the keys' pass.
// Head dimension a multiple of 4 up to 64; workgroup = one subgroup of LANES lanes.
// Tuned: LANES (the adapter's subgroup size), HEAD4 (a quarter of the head dimension).
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

fn texel(i: u32) -> vec4f { return textureLoad(qkv, vec2u(i & 1023u, i >> 10u)); }
fn dtexel(i: u32) -> vec4f { return textureLoad(dout, vec2u(i & 1023u, i >> 10u)); }
fn otexel(i: u32) -> vec4f { return textureLoad(o, vec2u(i & 1023u, i >> 10u)); }

// pcg4d (Jarzynski and Olano, JCGT 9(3), 2020): four words in, four out; the same as pcg4d in src/core/rng.ts.
fn pcg4d(key: vec4u) -> vec4u {
  var v = key * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return v;
}

// What dropout leaves of attention weight (i, j): 1/(1 − rate) or 0. Word j mod 4 of the hash of its quad.
fn kept(row: u32, j: u32) -> f32 {
  if (!DROPOUT) { return 1.0; }
  let word = pcg4d(vec4u(key[0], p.stream, key[1], row * ((p.N + 3u) / 4u) + j / 4u))[j % 4u];
  return select(0.0, 1.0 / (1.0 - p.rate), f32(word >> 8u) * (1.0 / 16777216.0) >= p.rate);
}

// s[l] += mine · other of lane l: the scores of this lane's row against LANES rows, four dimensions at a time;
// of a last tile of 65 or 197 rows only the few that are left.
fn dots(s: ptr<function, array<f32, 16>>, left: u32, mine: vec4f, other: vec4f) {
  (*s)[0] += dot(mine, subgroupBroadcast(other, 0u));
  (*s)[1] += dot(mine, subgroupBroadcast(other, 1u));
  (*s)[2] += dot(mine, subgroupBroadcast(other, 2u));
  (*s)[3] += dot(mine, subgroupBroadcast(other, 3u));
  if (left > 4u) {
    (*s)[4] += dot(mine, subgroupBroadcast(other, 4u));
    (*s)[5] += dot(mine, subgroupBroadcast(other, 5u));
    (*s)[6] += dot(mine, subgroupBroadcast(other, 6u));
    (*s)[7] += dot(mine, subgroupBroadcast(other, 7u));
  }
  if (LANES > 8u) {
    (*s)[8] += dot(mine, subgroupBroadcast(other, 8u));
    (*s)[9] += dot(mine, subgroupBroadcast(other, 9u));
    (*s)[10] += dot(mine, subgroupBroadcast(other, 10u));
    (*s)[11] += dot(mine, subgroupBroadcast(other, 11u));
    (*s)[12] += dot(mine, subgroupBroadcast(other, 12u));
    (*s)[13] += dot(mine, subgroupBroadcast(other, 13u));
    (*s)[14] += dot(mine, subgroupBroadcast(other, 14u));
    (*s)[15] += dot(mine, subgroupBroadcast(other, 15u));
  }
}

// c·acc + Σ_l weight[l] · row of lane l.
fn combine(c: f32, acc: vec4f, weight: ptr<function, array<f32, 16>>, left: u32, row: vec4f) -> vec4f {
  var sum = c * acc;
  sum += (*weight)[0] * subgroupBroadcast(row, 0u);
  sum += (*weight)[1] * subgroupBroadcast(row, 1u);
  sum += (*weight)[2] * subgroupBroadcast(row, 2u);
  sum += (*weight)[3] * subgroupBroadcast(row, 3u);
  if (left > 4u) {
    sum += (*weight)[4] * subgroupBroadcast(row, 4u);
    sum += (*weight)[5] * subgroupBroadcast(row, 5u);
    sum += (*weight)[6] * subgroupBroadcast(row, 6u);
    sum += (*weight)[7] * subgroupBroadcast(row, 7u);
  }
  if (LANES > 8u) {
    sum += (*weight)[8] * subgroupBroadcast(row, 8u);
    sum += (*weight)[9] * subgroupBroadcast(row, 9u);
    sum += (*weight)[10] * subgroupBroadcast(row, 10u);
    sum += (*weight)[11] * subgroupBroadcast(row, 11u);
    sum += (*weight)[12] * subgroupBroadcast(row, 12u);
    sum += (*weight)[13] * subgroupBroadcast(row, 13u);
    sum += (*weight)[14] * subgroupBroadcast(row, 14u);
    sum += (*weight)[15] * subgroupBroadcast(row, 15u);
  }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let i = group.x * LANES + lane;
  let inside = min(i, p.N - 1u);
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k one width on, v two
  let q = image + inside * 3u * width;
  let dy = (group.z * p.N + inside) * width + group.y * HEAD4;
  let row = (group.z * p.H + group.y) * p.N + inside;
  let head4 = min(HEAD4, textureDimensions(qkv).x); // a bound the compiler cannot see, so that it keeps the loop
  var d_sum = 0.0;
  for (var d = 0u; d < head4; d++) { d_sum += dot(dtexel(dy + d), otexel(dy + d)); }
  let log_mass = lse[row];
  var acc: array<vec4f, 16>;
  for (var j0 = 0u; j0 < p.N; j0 += LANES) {
    let left = p.N - j0;
    let k = image + min(j0 + lane, p.N - 1u) * 3u * width + width;
    var s = array<f32, 16>();
    var dp = array<f32, 16>();
    for (var d = 0u; d < head4; d++) { dots(&s, left, texel(q + d), texel(k + d)); }
    for (var d = 0u; d < head4; d++) { dots(&dp, left, dtexel(dy + d), texel(k + width + d)); }
    for (var l = 0u; l < LANES; l++) {
      let weight = select(0.0, exp(p.scale * s[l] - log_mass), j0 + l < p.N);
      s[l] = weight * (kept(row, j0 + l) * dp[l] - d_sum);
    }
    acc[0] = combine(1.0, acc[0], &s, left, texel(k + 0u));
    acc[1] = combine(1.0, acc[1], &s, left, texel(k + 1u));
    if (HEAD4 > 2u) {
      acc[2] = combine(1.0, acc[2], &s, left, texel(k + 2u));
      acc[3] = combine(1.0, acc[3], &s, left, texel(k + 3u));
    }
    if (HEAD4 > 4u) {
      acc[4] = combine(1.0, acc[4], &s, left, texel(k + 4u));
      acc[5] = combine(1.0, acc[5], &s, left, texel(k + 5u));
      acc[6] = combine(1.0, acc[6], &s, left, texel(k + 6u));
      acc[7] = combine(1.0, acc[7], &s, left, texel(k + 7u));
    }
    if (HEAD4 > 8u) {
      acc[8] = combine(1.0, acc[8], &s, left, texel(k + 8u));
      acc[9] = combine(1.0, acc[9], &s, left, texel(k + 9u));
      acc[10] = combine(1.0, acc[10], &s, left, texel(k + 10u));
      acc[11] = combine(1.0, acc[11], &s, left, texel(k + 11u));
    }
    if (HEAD4 > 12u) {
      acc[12] = combine(1.0, acc[12], &s, left, texel(k + 12u));
      acc[13] = combine(1.0, acc[13], &s, left, texel(k + 13u));
      acc[14] = combine(1.0, acc[14], &s, left, texel(k + 14u));
      acc[15] = combine(1.0, acc[15], &s, left, texel(k + 15u));
    }
  }
  if (i >= p.N) { return; }
  var out: array<vec4f, 16>;
  for (var d = 0u; d < 16u; d++) { out[d] = acc[d]; }
  for (var d = 0u; d < head4; d++) { dqkv[q + d] = p.scale * out[d]; }
  delta[row] = d_sum;
}
