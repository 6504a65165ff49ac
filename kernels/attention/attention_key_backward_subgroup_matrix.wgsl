// attention_key_backward_subgroup_matrix: dk[j] = scale · Σ_i ds[i, j] q[i],   dv[j] = Σ_i keep[i, j] p[i, j] do[i],   ds as in attention_query_backward
//   p[i, j] = exp(scale · q[i]·k[j] − lse[i]), computed again   (FlashAttention-2; Dao, 2023)
//   qkv, dqkv (B, N, 3, H, HEAD), dout (B, N, H, HEAD): Element   lse, delta (B, H, N): f32   key (2): seed, step: u32
//   MASKED: the sums leave j = i out; N is at least 2 then
// One workgroup per block of KEYS, head and image; it passes over blocks of QUERIES. Keys, values, queries, the gradients
//   of their outputs, and the block's p and ds (a row for each query) go through workgroup memory as elements of type Part. Subgroups take
//   the matrices of a product in turn. The elements of a matrix cannot be accessed, so products go through workgroup memory to the
//   invocations. SHARE neighbours own a query's row. Writes the k and v parts of dqkv.
// Limits: HEAD divides by 4; QUERIES and KEYS by SM and by 16; SN and SK divide 16; SM, SN, SK, Part are a configuration of the
//   adapter with f32 results; every subgroup has LANES lanes, WG divides by LANES, WG / LANES by DOWN and OUT_DOWN, LANES by
//   SHARE. Any N, H, B. A gradient too large for Part becomes infinite, and dk and dv are then not finite.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), Element, HEAD, QUERIES, KEYS, WG (4 to 8 times QUERIES).
import package::attention::dropout::{kept_quad};
import package::attention::mask::{seen_quad};
import package::attention::matrices::{BESIDE, DOWN, HEAD4, Left, MOVED_KEYS, MOVED_QUERIES, PITCH, Result, Right, SCORES_PITCH, SHARE, WIDE};
import package::attention::matrices::{fetch, fetch_gradient, place, put};
enable subgroups;
enable subgroup_size_control;
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
override MASKED: bool = false;

struct Params { N: u32, H: u32, stream: u32, rate: f32, scale: f32 }

@group(0) @binding(0) var<storage, read> qkv: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read> dout: array<vec4<Element>>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<Element>>;
var<immediate> p: Params;

const OUT_DOWN = KEYS / SM; // rows of matrices in dk and dv; the subgroups of a row take its matrices in turn
const OUT_BESIDE = WG / LANES / OUT_DOWN;
const EACH = (WIDE / SN + OUT_BESIDE - 1u) / OUT_BESIDE; // matrices that a subgroup owns, of dk and of dv each
// Offsets in `parts`: queries first, then the others; in `results`: the second of two products.
const DOUT = QUERIES * PITCH;
const K = DOUT + QUERIES * PITCH;
const V = K + KEYS * PITCH;
const WEIGHTS = V + KEYS * PITCH;
const DS = WEIGHTS + QUERIES * SCORES_PITCH;
const SECOND = QUERIES * SCORES_PITCH;

// Offsets and strides of subgroupMatrixLoad and subgroupMatrixStore count elements of these arrays, which are quads.
var<workgroup> parts: array<vec4<Part>, DS + QUERIES * SCORES_PITCH>;
var<workgroup> results: array<vec4f, max(2u * SECOND, KEYS * PITCH)>;

// As multiply_rows in matrices.wgsl, but with one matrix of results at a time.
fn multiply_blocks(own: vec2u, left: u32, right: u32, to: u32) {
  for (var column = own.y; column < KEYS; column += BESIDE * SN) {
    var sum = Result();
    // unroll
    for (var d = 0u; d < WIDE; d += SK) {
      let one = subgroupMatrixLoad<Left, row_major>(&parts, left + own.x * PITCH + d / 4u, PITCH);
      let other = subgroupMatrixLoad<Right, col_major>(&parts, right + column * PITCH + d / 4u, PITCH);
      sum = subgroupMatrixMultiplyAccumulate(one, other, sum);
    }
    subgroupMatrixStore<row_major>(&results, to + own.x * SCORES_PITCH + column / 4u, sum, SCORES_PITCH);
  }
}

// sums += (columns of parts[left ...])ᵀ · (rows of parts[right ...]).
fn add_columns(own: vec2u, left: u32, right: u32, sums: ptr<function, array<Result, EACH>>) {
  // unroll
  for (var i = 0u; i < QUERIES; i += SK) {
    let one = subgroupMatrixLoad<Left, col_major>(&parts, left + i * SCORES_PITCH + own.x / 4u, SCORES_PITCH);
    // unroll
    for (var n = 0u; n < EACH; n++) {
      let column = own.y + n * OUT_BESIDE * SN;
      if (WIDE % (OUT_BESIDE * SN) == 0u || column < WIDE) {
        let other = subgroupMatrixLoad<Right, row_major>(&parts, right + i * PITCH + column / 4u, PITCH);
        (*sums)[n] = subgroupMatrixMultiplyAccumulate(one, other, (*sums)[n]);
      }
    }
  }
}

// Stores rows of dk or dv times `factor`; token 0 of the head is at `base`.
fn finish(index: u32, own: vec2u, sums: ptr<function, array<Result, EACH>>, first: u32, base: u32, factor: f32) {
  // unroll
  for (var n = 0u; n < EACH; n++) {
    let column = own.y + n * OUT_BESIDE * SN;
    if (WIDE % (OUT_BESIDE * SN) == 0u || column < WIDE) {
      subgroupMatrixStore<row_major>(&results, own.x * PITCH + column / 4u, (*sums)[n], PITCH);
    }
  }
  workgroupBarrier();
  for (var x = index; x < KEYS * (WIDE / 4u); x += WG) {
    let at = place(x);
    if (first + at.x >= p.N || at.y >= HEAD4) { continue; }
    dqkv[base + (first + at.x) * 3u * p.H * HEAD4 + at.y] = vec4<Element>(factor * results[at.x * PITCH + at.y]);
  }
  workgroupBarrier();
}

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32,
        @builtin(subgroup_invocation_id) lane: u32) {
  let index = subgroup * LANES + lane;
  let own = vec2u(subgroup % DOWN * SM, subgroup / DOWN * SN);
  let own_out = vec2u(subgroup % OUT_DOWN * SM, subgroup / OUT_DOWN * SN);
  let row = index / SHARE; // within the block of queries
  let share = index % SHARE;
  let width = p.H * HEAD4;
  let image = group.z * p.N * 3u * width + group.y * HEAD4; // q of token 0; k is one width further, v two
  let rows = (group.z * p.H + group.y) * p.N;
  let first = group.x * KEYS;
  // unroll
  for (var n = 0u; n < MOVED_KEYS; n++) {
    put(index + n * WG, KEYS, K, fetch(index + n * WG, image + width, first));
    put(index + n * WG, KEYS, V, fetch(index + n * WG, image + 2u * width, first));
  }
  var moved: array<array<vec4<Part>, 2>, MOVED_QUERIES>;
  var dk: array<Result, EACH>;
  var dv: array<Result, EACH>;
  for (var i0 = 0u; i0 < p.N; i0 += QUERIES) {
    // unroll
    for (var n = 0u; n < MOVED_QUERIES; n++) {
      let dy = fetch_gradient(index + n * WG, group.z * p.N * width + group.y * HEAD4, i0);
      moved[n] = array(fetch(index + n * WG, image, i0), dy);
    }
    // unroll
    for (var n = 0u; n < MOVED_QUERIES; n++) {
      put(index + n * WG, QUERIES, 0u, moved[n][0]);
      put(index + n * WG, QUERIES, DOUT, moved[n][1]);
    }
    let i = min(i0 + row, p.N - 1u);
    let log_mass = lse[rows + i];
    let d_sum = delta[rows + i];
    workgroupBarrier();
    multiply_blocks(own, 0u, K, 0u);
    multiply_blocks(own, DOUT, V, SECOND);
    workgroupBarrier();
    for (var c = share; c < KEYS / 4u; c += SHARE) {
      let at = row * SCORES_PITCH + c;
      // Queries beyond N have no lse; results of keys beyond N are not stored.
      let inside = vec4<bool>(i0 + row < p.N) & seen_quad(i, first + 4u * c);
      let weight = select(vec4f(0.0), exp(p.scale * results[at] - log_mass), inside);
      let keep = kept_quad(rows + i, first / 4u + c);
      parts[WEIGHTS + at] = vec4<Part>(keep * weight);
      parts[DS + at] = vec4<Part>(weight * (keep * results[SECOND + at] - d_sum));
    }
    workgroupBarrier();
    add_columns(own_out, WEIGHTS, DOUT, &dv);
    add_columns(own_out, DS, 0u, &dk);
    workgroupBarrier();
  }
  finish(index, own_out, &dk, first, image + width, p.scale);
  finish(index, own_out, &dv, first, image + 2u * width, 1.0);
}
