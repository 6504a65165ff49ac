// attention_forward_subgroup_matrix: o[i] = Σ_j dropout(p[i, j]) v[j],   p[i] = softmax_j(scale · q[i]·k[j]),
//   lse[i] = log Σ_j exp(scale · q[i]·k[j])   (FlashAttention-2; Dao, 2023)
//   qkv (B, N, 3, H, HEAD), o (B, N, H, HEAD): Element   lse (B, H, N): f32   key (2): seed, step: u32
// One workgroup per block of QUERIES, head and image; it passes once over blocks of KEYS with a running maximum. Queries, then
//   keys, then values (on their way meanwhile), and the block's weights p go through workgroup memory as elements of type Part; subgroup s owns the
//   s mod DOWN-th SM rows of both products. A matrix cannot be read by elements: products go through workgroup memory to
//   the invocations, of which SHARE side by side own a row: its maximum, its mass, every SHARE-th quad of its output.
// Limits: HEAD divides by 4; QUERIES by SM; KEYS by 16; SN and SK divide 16; SM, SN, SK, Part are a configuration of the adapter
//   with f32 results; every subgroup has LANES lanes, WG divides by LANES, WG / LANES by DOWN, LANES by SHARE. Any N, H, B.
//   Weights are at most 1 / (1 − rate), so no Part of finite q, k, v overflows that they do not overflow themselves.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), Element, HEAD, QUERIES, KEYS, WG (4 to 8 times QUERIES).
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires immediate_address_space;
requires subgroup_id;

alias Part = f32; // tune
alias Element = f32; // tune
const SM = 16u; // tune
const SN = 16u; // tune
const SK = 16u; // tune
const LANES = 32u; // tune
const WG = 128u; // tune
const HEAD = 64u; // tune
const QUERIES = 32u; // tune
const KEYS = 32u; // tune

override DROPOUT: bool = false;

struct Params { N: u32, H: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var<storage, read> qkv: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read_write> o: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
var<immediate> p: Params;

alias Left = subgroup_matrix_left<Part, SK, SM>;
alias Right = subgroup_matrix_right<Part, SN, SK>;
alias Result = subgroup_matrix_result<f32, SN, SM>;

const LEAST = -3.402823466e38;
const SHARE = WG / QUERIES; // invocations of a row
const DOWN = QUERIES / SM; // rows of matrices
const BESIDE = WG / LANES / DOWN; // subgroups of such a row: they take its matrices in turn
const HEAD4 = HEAD / 4u;
const WIDE = (HEAD + 15u) / 16u * 16u; // HEAD and zeros
const OWN = (WIDE / 4u + SHARE - 1u) / SHARE; // quads of a row that an invocation owns
const MOVED = (KEYS * (WIDE / 4u) + WG - 1u) / WG; // quads of keys or values that it moves, and of queries
const MOVED_ONCE = (QUERIES * (WIDE / 4u) + WG - 1u) / WG;
// Quads from row to row: two more than a row has, so that neighbours start on different banks.
const PITCH = WIDE / 4u + 2u;
const WEIGHTS_PITCH = KEYS / 4u + 2u;
const RESULTS_PITCH = max(KEYS, WIDE) / 4u + 2u;
// Where in `parts`: queries first, then keys or values, then weights.
const OTHERS = QUERIES * PITCH;
const WEIGHTS = OTHERS + KEYS * PITCH;

// Offsets and strides of subgroupMatrixLoad and -Store count elements of these arrays: quads.
var<workgroup> parts: array<vec4<Part>, WEIGHTS + QUERIES * WEIGHTS_PITCH>;
var<workgroup> results: array<vec4f, QUERIES * RESULTS_PITCH>;

// pcg4d (Jarzynski and Olano, JCGT 9(3), 2020): four words in, four out; the same as pcg4d in src/core/rng.ts.
fn pcg4d(key: vec4u) -> vec4u {
  var v = key * 1664525u + 1013904223u;
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  v ^= v >> vec4u(16u);
  v.x += v.y * v.w; v.y += v.z * v.x; v.z += v.x * v.y; v.w += v.y * v.z;
  return v;
}

// What dropout leaves of attention weights (i, 4·quad ...): 1/(1 − rate) or 0.
fn kept(row: u32, quad: u32) -> vec4f {
  if (!DROPOUT) { return vec4f(1.0); }
  let words = pcg4d(vec4u(key[0], p.stream, key[1], row * ((p.N + 3u) / 4u) + quad));
  let draws = vec4f(words >> vec4u(8u)) * (1.0 / 16777216.0);
  return select(vec4f(0.0), vec4f(1.0 / (1.0 - p.rate)), draws >= vec4f(p.rate));
}

// Where quad x of staged rows is: its row and its place in it.
fn place(x: u32) -> vec2u { return vec2u(x / (WIDE / 4u), x % (WIDE / 4u)); }

// Quad x of a head's rows from token `first` on, where that of token 0 is at quad `base` of qkv; 0 beyond N and HEAD.
// There is no branch, so that many loads are on their way at a time.
fn fetch(x: u32, base: u32, first: u32) -> vec4<Part> {
  let at = place(x);
  let token = first + at.x;
  let quad = qkv[base + min(token, p.N - 1u) * 3u * p.H * HEAD4 + min(at.y, HEAD4 - 1u)];
  return vec4<Part>(select(vec4f(0.0), vec4f(quad), token < p.N && at.y < HEAD4));
}
// Puts quad x of so many rows to parts[to ...].
fn put(x: u32, rows: u32, to: u32, quad: vec4<Part>) {
  let at = place(x);
  if (rows * (WIDE / 4u) % WG == 0u || at.x < rows) { parts[to + at.x * PITCH + at.y] = quad; }
}

// results = queries · keysᵀ; `own` is this subgroup's first row, and its first column.
fn multiply_keys(own: vec2u) {
  const EACH = (KEYS / SN + BESIDE - 1u) / BESIDE;
  var sums = array<Result, EACH>();
  for (var d = 0u; d < WIDE; d += SK) {
    let one = subgroupMatrixLoad<Left, row_major>(&parts, own.x * PITCH + d / 4u, PITCH);
    for (var n = 0u; n < EACH; n++) {
      let column = own.y + n * BESIDE * SN;
      if (KEYS % (BESIDE * SN) != 0u && column >= KEYS) { continue; }
      let other = subgroupMatrixLoad<Right, col_major>(&parts, OTHERS + column * PITCH + d / 4u, PITCH);
      sums[n] = subgroupMatrixMultiplyAccumulate(one, other, sums[n]);
    }
  }
  for (var n = 0u; n < EACH; n++) {
    let column = own.y + n * BESIDE * SN;
    if (KEYS % (BESIDE * SN) != 0u && column >= KEYS) { continue; }
    subgroupMatrixStore<row_major>(&results, own.x * RESULTS_PITCH + column / 4u, sums[n], RESULTS_PITCH);
  }
}

// results = weights · values.
fn multiply_values(own: vec2u) {
  const EACH = (WIDE / SN + BESIDE - 1u) / BESIDE;
  var sums = array<Result, EACH>();
  for (var j = 0u; j < KEYS; j += SK) {
    let one = subgroupMatrixLoad<Left, row_major>(&parts, WEIGHTS + own.x * WEIGHTS_PITCH + j / 4u, WEIGHTS_PITCH);
    for (var n = 0u; n < EACH; n++) {
      let column = own.y + n * BESIDE * SN;
      if (WIDE % (BESIDE * SN) != 0u && column >= WIDE) { continue; }
      let other = subgroupMatrixLoad<Right, row_major>(&parts, OTHERS + j * PITCH + column / 4u, PITCH);
      sums[n] = subgroupMatrixMultiplyAccumulate(one, other, sums[n]);
    }
  }
  for (var n = 0u; n < EACH; n++) {
    let column = own.y + n * BESIDE * SN;
    if (WIDE % (BESIDE * SN) != 0u && column >= WIDE) { continue; }
    subgroupMatrixStore<row_major>(&results, own.x * RESULTS_PITCH + column / 4u, sums[n], RESULTS_PITCH);
  }
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let index = subgroup * LANES + lane;
  let own = vec2u(subgroup % DOWN * SM, subgroup / DOWN * SN);
  let row = index / SHARE; // of the block
  let share = index % SHARE;
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k one width on, v two
  let i = group.x * QUERIES + row;
  let draws = (group.z * p.H + group.y) * p.N + i;
  var sum: array<vec4f, OWN>;
  var highest = LEAST;
  var mass = 0.0;
  var moved: array<vec4<Part>, MOVED>;
  for (var n = 0u; n < MOVED_ONCE; n++) {
    put(index + n * WG, QUERIES, 0u, fetch(index + n * WG, image, group.x * QUERIES));
  }
  for (var j0 = 0u; j0 < p.N; j0 += KEYS) {
    for (var n = 0u; n < MOVED; n++) { moved[n] = fetch(index + n * WG, image + width, j0); }
    for (var n = 0u; n < MOVED; n++) { put(index + n * WG, KEYS, OTHERS, moved[n]); }
    for (var n = 0u; n < MOVED; n++) { moved[n] = fetch(index + n * WG, image + 2u * width, j0); }
    workgroupBarrier();
    multiply_keys(own);
    workgroupBarrier();
    var now = highest;
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let score = p.scale * results[row * RESULTS_PITCH + c];
      let most = select(vec4f(LEAST), score, j0 + 4u * c + vec4u(0u, 1u, 2u, 3u) < vec4u(p.N));
      now = max(now, max(max(most.x, most.y), max(most.z, most.w)));
    }
    for (var other = 1u; other < SHARE; other *= 2u) { now = max(now, subgroupShuffleXor(now, other)); }
    let shrink = exp(highest - now);
    highest = now;
    mass *= shrink;
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let score = p.scale * results[row * RESULTS_PITCH + c];
      let weight = select(vec4f(0.0), exp(score - now), j0 + 4u * c + vec4u(0u, 1u, 2u, 3u) < vec4u(p.N));
      mass += dot(weight, vec4f(1.0));
      parts[WEIGHTS + row * WEIGHTS_PITCH + c] = vec4<Part>(weight * kept(draws, j0 / 4u + c));
    }
    for (var n = 0u; n < MOVED; n++) { put(index + n * WG, KEYS, OTHERS, moved[n]); }
    workgroupBarrier();
    multiply_values(own);
    workgroupBarrier();
    for (var n = 0u; n < OWN; n++) {
      let d = n * SHARE + share;
      if (d < WIDE / 4u) { sum[n] = shrink * sum[n] + results[row * RESULTS_PITCH + d]; }
    }
  }
  for (var other = 1u; other < SHARE; other *= 2u) { mass += subgroupShuffleXor(mass, other); }
  if (i >= p.N) { return; }
  let out = (group.z * p.N + i) * width + group.y * HEAD4;
  for (var n = 0u; n < OWN; n++) {
    let d = n * SHARE + share;
    if (d < HEAD4) { o[out + d] = vec4<Element>(sum[n] / mass); }
  }
  if (share == 0u) { lse[draws] = highest + log(mass); }
}
