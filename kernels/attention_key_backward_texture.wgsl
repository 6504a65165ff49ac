// attention_key_backward_texture: dk[j] = scale · Σ_i ds[i, j] q[i],   dv[j] = Σ_i keep[i, j] p[i, j] do[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again; ds as in attention_query_backward_texture
//   qkv, dqkv (B, N, 3, H, 4·HEAD4)   dout (B, N, H, 4·HEAD4)   lse, delta (B, H, N)   key (2)   all f32 but the key, u32
// One subgroup per LANES keys, head and image; lane l owns key l of them and fetches query l, its gradient, lse and
//   delta of each tile of LANES queries, as in attention_forward_texture. Writes the k and v parts of dqkv.
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
@group(0) @binding(2) var dout: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4f>;
var<immediate> p: Params;

fn texel(i: u32) -> vec4f { return textureLoad(qkv, vec2u(i & 1023u, i >> 10u)); }
fn dtexel(i: u32) -> vec4f { return textureLoad(dout, vec2u(i & 1023u, i >> 10u)); }

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

fn spread(s: ptr<function, array<f32, 16>>, mine: f32) {
  (*s)[0] = subgroupBroadcast(mine, 0u);
  (*s)[1] = subgroupBroadcast(mine, 1u);
  (*s)[2] = subgroupBroadcast(mine, 2u);
  (*s)[3] = subgroupBroadcast(mine, 3u);
  if (LANES > 4u) {
    (*s)[4] = subgroupBroadcast(mine, 4u);
    (*s)[5] = subgroupBroadcast(mine, 5u);
    (*s)[6] = subgroupBroadcast(mine, 6u);
    (*s)[7] = subgroupBroadcast(mine, 7u);
  }
  if (LANES > 8u) {
    (*s)[8] = subgroupBroadcast(mine, 8u);
    (*s)[9] = subgroupBroadcast(mine, 9u);
    (*s)[10] = subgroupBroadcast(mine, 10u);
    (*s)[11] = subgroupBroadcast(mine, 11u);
    (*s)[12] = subgroupBroadcast(mine, 12u);
    (*s)[13] = subgroupBroadcast(mine, 13u);
    (*s)[14] = subgroupBroadcast(mine, 14u);
    (*s)[15] = subgroupBroadcast(mine, 15u);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let j = group.x * LANES + lane;
  let inside = min(j, p.N - 1u);
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k one width on, v two
  let k = image + inside * 3u * width + width;
  let rows = (group.z * p.H + group.y) * p.N;
  let head4 = min(HEAD4, textureDimensions(qkv).x); // a bound the compiler cannot see, so that it keeps the loop
  var dk: array<vec4f, 16>;
  var dv: array<vec4f, 16>;
  for (var i0 = 0u; i0 < p.N; i0 += LANES) {
    let left = p.N - i0;
    let i = min(i0 + lane, p.N - 1u);
    let q = image + i * 3u * width;
    let dy = (group.z * p.N + i) * width + group.y * HEAD4;
    var s = array<f32, 16>(); var dp = array<f32, 16>();
    var log_mass: array<f32, 16>; var d_sum: array<f32, 16>;
    for (var d = 0u; d < head4; d++) { dots(&s, left, texel(k + d), texel(q + d)); }
    for (var d = 0u; d < head4; d++) { dots(&dp, left, texel(k + width + d), dtexel(dy + d)); }
    spread(&log_mass, lse[rows + i]);
    spread(&d_sum, delta[rows + i]);
    for (var l = 0u; l < LANES; l++) {
      let weight = select(0.0, exp(p.scale * s[l] - log_mass[l]), i0 + l < p.N);
      let keep = kept(rows + i0 + l, inside);
      dp[l] = weight * (keep * dp[l] - d_sum[l]);
      s[l] = keep * weight;
    }
    dk[0] = combine(1.0, dk[0], &dp, left, texel(q + 0u));
    dk[1] = combine(1.0, dk[1], &dp, left, texel(q + 1u));
    if (HEAD4 > 2u) {
      dk[2] = combine(1.0, dk[2], &dp, left, texel(q + 2u));
      dk[3] = combine(1.0, dk[3], &dp, left, texel(q + 3u));
    }
    if (HEAD4 > 4u) {
      dk[4] = combine(1.0, dk[4], &dp, left, texel(q + 4u));
      dk[5] = combine(1.0, dk[5], &dp, left, texel(q + 5u));
      dk[6] = combine(1.0, dk[6], &dp, left, texel(q + 6u));
      dk[7] = combine(1.0, dk[7], &dp, left, texel(q + 7u));
    }
    if (HEAD4 > 8u) {
      dk[8] = combine(1.0, dk[8], &dp, left, texel(q + 8u));
      dk[9] = combine(1.0, dk[9], &dp, left, texel(q + 9u));
      dk[10] = combine(1.0, dk[10], &dp, left, texel(q + 10u));
      dk[11] = combine(1.0, dk[11], &dp, left, texel(q + 11u));
    }
    if (HEAD4 > 12u) {
      dk[12] = combine(1.0, dk[12], &dp, left, texel(q + 12u));
      dk[13] = combine(1.0, dk[13], &dp, left, texel(q + 13u));
      dk[14] = combine(1.0, dk[14], &dp, left, texel(q + 14u));
      dk[15] = combine(1.0, dk[15], &dp, left, texel(q + 15u));
    }
    dv[0] = combine(1.0, dv[0], &s, left, dtexel(dy + 0u));
    dv[1] = combine(1.0, dv[1], &s, left, dtexel(dy + 1u));
    if (HEAD4 > 2u) {
      dv[2] = combine(1.0, dv[2], &s, left, dtexel(dy + 2u));
      dv[3] = combine(1.0, dv[3], &s, left, dtexel(dy + 3u));
    }
    if (HEAD4 > 4u) {
      dv[4] = combine(1.0, dv[4], &s, left, dtexel(dy + 4u));
      dv[5] = combine(1.0, dv[5], &s, left, dtexel(dy + 5u));
      dv[6] = combine(1.0, dv[6], &s, left, dtexel(dy + 6u));
      dv[7] = combine(1.0, dv[7], &s, left, dtexel(dy + 7u));
    }
    if (HEAD4 > 8u) {
      dv[8] = combine(1.0, dv[8], &s, left, dtexel(dy + 8u));
      dv[9] = combine(1.0, dv[9], &s, left, dtexel(dy + 9u));
      dv[10] = combine(1.0, dv[10], &s, left, dtexel(dy + 10u));
      dv[11] = combine(1.0, dv[11], &s, left, dtexel(dy + 11u));
    }
    if (HEAD4 > 12u) {
      dv[12] = combine(1.0, dv[12], &s, left, dtexel(dy + 12u));
      dv[13] = combine(1.0, dv[13], &s, left, dtexel(dy + 13u));
      dv[14] = combine(1.0, dv[14], &s, left, dtexel(dy + 14u));
      dv[15] = combine(1.0, dv[15], &s, left, dtexel(dy + 15u));
    }
  }
  if (j >= p.N) { return; }
  var k_out: array<vec4f, 16>; for (var d = 0u; d < 16u; d++) { k_out[d] = dk[d]; }
  for (var d = 0u; d < head4; d++) { dqkv[k + d] = p.scale * k_out[d]; }
  var v_out: array<vec4f, 16>; for (var d = 0u; d < 16u; d++) { v_out[d] = dv[d]; }
  for (var d = 0u; d < head4; d++) { dqkv[k + width + d] = v_out[d]; }
}
