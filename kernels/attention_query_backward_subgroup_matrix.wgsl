// attention_query_backward_subgroup_matrix: dq[i] = scale · Σ_j ds[i, j] k[j],   ds = p ∘ (keep ∘ (do·vᵀ) − delta),   delta[i] = do[i]·o[i]
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again   (FlashAttention-2; Dao, 2023)
//   qkv, dqkv (B, N, 3, H, HEAD), o, dout (B, N, H, HEAD): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
// One workgroup per block of QUERIES, head and image; it passes over blocks of KEYS. Queries, their output's gradients, keys,
//   values and the block's ds go through workgroup memory as elements of type Part; subgroup s owns the s mod DOWN-th SM rows
//   of all products. A matrix cannot be read by elements: products go through workgroup memory to the invocations, of which
//   SHARE side by side own a row. Writes the q part of dqkv, and delta for the keys' pass.
// Limits: HEAD divides by 4; QUERIES by SM; KEYS by 16; SN and SK divide 16; SM, SN, SK, Part are a configuration of the adapter
//   with f32 results; every subgroup has LANES lanes, WG divides by LANES, WG / LANES by DOWN, LANES by SHARE. Any N, H, B.
//   A gradient too large for Part becomes infinite and leaves dq not finite.
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
@group(0) @binding(2) var<storage, read> o: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read> dout: array<vec4<Element>>;
@group(0) @binding(4) var<storage, read> lse: array<f32>;
@group(0) @binding(5) var<storage, read_write> delta: array<f32>;
@group(0) @binding(6) var<storage, read_write> dqkv: array<vec4<Element>>;
var<immediate> p: Params;

alias Left = subgroup_matrix_left<Part, SK, SM>;
alias Right = subgroup_matrix_right<Part, SN, SK>;
alias Result = subgroup_matrix_result<f32, SN, SM>;

const SHARE = WG / QUERIES; // invocations of a row
const DOWN = QUERIES / SM; // rows of matrices
const BESIDE = WG / LANES / DOWN; // subgroups of such a row: they take its matrices in turn
const HEAD4 = HEAD / 4u;
const WIDE = (HEAD + 15u) / 16u * 16u; // HEAD and zeros
const EACH = (WIDE / SN + BESIDE - 1u) / BESIDE; // matrices of dq that a subgroup owns
const MOVED = (KEYS * (WIDE / 4u) + WG - 1u) / WG; // quads of keys and values that an invocation moves, and of queries
const MOVED_ONCE = (QUERIES * (WIDE / 4u) + WG - 1u) / WG;
// Quads from row to row: two more than a row has, so that neighbours start on different banks.
const PITCH = WIDE / 4u + 2u;
const SCORES_PITCH = KEYS / 4u + 2u;
// Where in `parts`: queries first, then the others; and in `results` the second of two products.
const DOUT = QUERIES * PITCH;
const K = DOUT + QUERIES * PITCH;
const V = K + KEYS * PITCH;
const DS = V + KEYS * PITCH;
const SECOND = QUERIES * SCORES_PITCH;

// Offsets and strides of subgroupMatrixLoad and -Store count elements of these arrays: quads.
var<workgroup> parts: array<vec4<Part>, DS + QUERIES * SCORES_PITCH>;
var<workgroup> results: array<vec4f, max(2u * SECOND, QUERIES * PITCH)>;

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
// The same of the output's gradients.
fn fetch_gradient(x: u32, base: u32, first: u32) -> vec4<Part> {
  let at = place(x);
  let token = first + at.x;
  let quad = dout[base + min(token, p.N - 1u) * p.H * HEAD4 + min(at.y, HEAD4 - 1u)];
  return vec4<Part>(select(vec4f(0.0), vec4f(quad), token < p.N && at.y < HEAD4));
}
// Puts quad x of so many rows to parts[to ...].
fn put(x: u32, rows: u32, to: u32, quad: vec4<Part>) {
  let at = place(x);
  if (rows * (WIDE / 4u) % WG == 0u || at.x < rows) { parts[to + at.x * PITCH + at.y] = quad; }
}

// results[to ...] = (rows of parts[left ...]) · (rows of parts[right ...])ᵀ; `own` is this subgroup's first row, and its first column.
fn multiply_rows(own: vec2u, left: u32, right: u32, to: u32) {
  const COUNT = (KEYS / SN + BESIDE - 1u) / BESIDE;
  var sums = array<Result, COUNT>();
  for (var d = 0u; d < WIDE; d += SK) {
    let one = subgroupMatrixLoad<Left, row_major>(&parts, left + own.x * PITCH + d / 4u, PITCH);
    for (var n = 0u; n < COUNT; n++) {
      let column = own.y + n * BESIDE * SN;
      if (KEYS % (BESIDE * SN) != 0u && column >= KEYS) { continue; }
      let other = subgroupMatrixLoad<Right, col_major>(&parts, right + column * PITCH + d / 4u, PITCH);
      sums[n] = subgroupMatrixMultiplyAccumulate(one, other, sums[n]);
    }
  }
  for (var n = 0u; n < COUNT; n++) {
    let column = own.y + n * BESIDE * SN;
    if (KEYS % (BESIDE * SN) != 0u && column >= KEYS) { continue; }
    subgroupMatrixStore<row_major>(&results, to + own.x * SCORES_PITCH + column / 4u, sums[n], SCORES_PITCH);
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
  let outputs = group.z * p.N * width + group.y * HEAD4;
  let first = group.x * QUERIES;
  let i = first + row;
  let draws = (group.z * p.H + group.y) * p.N + i;
  for (var n = 0u; n < MOVED_ONCE; n++) {
    put(index + n * WG, QUERIES, 0u, fetch(index + n * WG, image, first));
    put(index + n * WG, QUERIES, DOUT, fetch_gradient(index + n * WG, outputs, first));
  }
  var moved: array<array<vec4<Part>, 2>, MOVED>;
  var d_sum = 0.0;
  var log_mass = 0.0;
  if (i < p.N) {
    for (var d = share; d < HEAD4; d += SHARE) {
      d_sum += dot(vec4f(dout[outputs + i * width + d]), vec4f(o[outputs + i * width + d]));
    }
    log_mass = lse[draws];
  }
  for (var other = 1u; other < SHARE; other *= 2u) { d_sum += subgroupShuffleXor(d_sum, other); }
  var dq: array<Result, EACH>;
  for (var j0 = 0u; j0 < p.N; j0 += KEYS) {
    for (var n = 0u; n < MOVED; n++) {
      moved[n] = array(fetch(index + n * WG, image + width, j0), fetch(index + n * WG, image + 2u * width, j0));
    }
    for (var n = 0u; n < MOVED; n++) {
      put(index + n * WG, KEYS, K, moved[n][0]);
      put(index + n * WG, KEYS, V, moved[n][1]);
    }
    workgroupBarrier();
    multiply_rows(own, 0u, K, 0u);
    multiply_rows(own, DOUT, V, SECOND);
    workgroupBarrier();
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let weight = exp(p.scale * results[row * SCORES_PITCH + c] - log_mass);
      let ds = weight * (kept(draws, j0 / 4u + c) * results[SECOND + row * SCORES_PITCH + c] - d_sum);
      let inside = j0 + 4u * c + vec4u(0u, 1u, 2u, 3u) < vec4u(p.N);
      parts[DS + row * SCORES_PITCH + c] = vec4<Part>(select(vec4f(0.0), ds, inside));
    }
    workgroupBarrier();
    for (var j = 0u; j < KEYS; j += SK) {
      let one = subgroupMatrixLoad<Left, row_major>(&parts, DS + own.x * SCORES_PITCH + j / 4u, SCORES_PITCH);
      for (var n = 0u; n < EACH; n++) {
        let column = own.y + n * BESIDE * SN;
        if (WIDE % (BESIDE * SN) != 0u && column >= WIDE) { continue; }
        let other = subgroupMatrixLoad<Right, row_major>(&parts, K + j * PITCH + column / 4u, PITCH);
        dq[n] = subgroupMatrixMultiplyAccumulate(one, other, dq[n]);
      }
    }
    workgroupBarrier();
  }
  for (var n = 0u; n < EACH; n++) {
    let column = own.y + n * BESIDE * SN;
    if (WIDE % (BESIDE * SN) != 0u && column >= WIDE) { continue; }
    subgroupMatrixStore<row_major>(&results, own.x * PITCH + column / 4u, dq[n], PITCH);
  }
  workgroupBarrier();
  if (i >= p.N) { return; }
  if (share == 0u) { delta[draws] = d_sum; }
  for (var d = share; d < HEAD4; d += SHARE) {
    dqkv[image + i * 3u * width + d] = vec4<Element>(p.scale * results[row * PITCH + d]);
  }
}
