// matmul_forward_subgroup_matrix: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE, SUMS and split sums (`chunk`): as matmul_forward's. A, B, C, aux are of f32 or f16, the rest is f32.
// One workgroup of 8 subgroups per tile of TILE_M x TILE_N of C, a batch along z; subgroup (s / 4, s mod 4) owns half of its
//   rows and a quarter of its columns, as matrices of SM x SN. Slices of DEPTH k of A and B pass through workgroup memory as
//   elements of type Part, laid out as in their buffers; one is multiplied while the next is loaded to registers.
//   The elements of a matrix cannot be accessed, so results go through workgroup memory, a matrix at a time, for the epilogue.
// Limits: the contiguous axes of A, B and C are padded to whole quads, those of A and B with zeros; chunk
//   divides by DEPTH, or is K; SM, SN, SK and Part are a configuration of the adapter with f32 results; 32 divides by SM, 16 by SN,
//   DEPTH by SK; every subgroup has LANES lanes.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), TILE_M, TILE_N, DEPTH (at most TILE_M and TILE_N), Element….
import package::matmul::epilogue::{finished, store_row_sums};
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires immediate_address_space;
requires subgroup_id;

alias Part = f16; // tune
alias ElementA = f32; // tune
alias ElementB = f32; // tune
alias ElementC = f32; // tune
const SM = 16u; // tune
const SN = 16u; // tune
const SK = 16u; // tune
const LANES = 32u; // tune
const TILE_M = 64u; // tune
const TILE_N = 64u; // tune
const DEPTH = 32u; // tune

override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override SUMS: bool = false;
override EPILOGUE: u32 = 0u;

struct Params { M: u32, N: u32, K: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> a: array<vec4<ElementA>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<ElementB>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4<ElementC>>;
@group(0) @binding(4) var<storage, read_write> aux: array<vec4<ElementC>>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
var<immediate> p: Params;

alias Left = subgroup_matrix_left<Part, SK, SM>;
alias Right = subgroup_matrix_right<Part, SN, SK>;
alias Result = subgroup_matrix_result<f32, SN, SM>;

const WG = 8u * LANES;
const DOWN = TILE_M / 2u / SM; // matrices of a subgroup
const ACROSS = TILE_N / 4u / SN;
const DEEP = DEPTH / 4u;
const EACH_A = (TILE_M / 4u * DEEP + WG - 1u) / WG; // blocks of 4 x 4 that an invocation moves
const EACH_B = (TILE_N / 4u * DEEP + WG - 1u) / WG;
const RESULT = SM * SN / 4u; // quads of a matrix
// Quads from one line of a slice to the next: two more than a line has, so that neighbouring lines start on different banks.
override PITCH_A: u32 = select(DEEP, TILE_M / 4u, TRANS_A) + 2u;
override PITCH_B: u32 = select(TILE_N / 4u, DEEP, TRANS_B) + 2u;

// Offsets and strides of subgroupMatrixLoad and subgroupMatrixStore count elements of these arrays, which are quads.
var<workgroup> tile_a: array<vec4<Part>, TILE_M * (DEEP + 2u)>;
var<workgroup> tile_b: array<vec4<Part>, TILE_N * (DEEP + 2u)>;
var<workgroup> results: array<vec4f, max(8u * RESULT, TILE_M / 4u * DEEP)>;

// The first row (or column) and the first k of block i of a slice, in a tile of `wide` rows. A line of the buffer is a k
// (by_k) or a row; neighbouring invocations take contiguous blocks of it.
fn place_in_slice(i: u32, wide: u32, by_k: bool) -> vec2u {
  return 4u * select(vec2u(i / DEEP, i % DEEP), vec2u(i % (wide / 4u), i / (wide / 4u)), by_k);
}

// The lines of a block of an operand of `wide` rows: first quad, quads from one line to the next, and number of lines.
fn lines(base: u32, at: vec2u, wide: u32, end: u32, by_k: bool) -> vec3u {
  let line = select(at.x, at.y, by_k);
  let pitch = (select(p.K, wide, by_k) + 3u) / 4u;
  let count = select(0u, min(4u, select(wide, end, by_k) - line), at.x < wide && at.y < end);
  return vec3u(base + line * pitch + select(at.y, at.x, by_k) / 4u, pitch, count);
}
fn block_a(base: u32, i: u32, origin: vec2u, end: u32) -> mat4x4<ElementA> {
  let there = lines(base, origin + place_in_slice(i, TILE_M, TRANS_A), p.M, end, TRANS_A);
  var v = mat4x4<ElementA>();
  for (var j = 0u; j < 4u; j++) { if (j < there.z) { v[j] = a[there.x + j * there.y]; } }
  return v;
}
fn block_b(base: u32, i: u32, origin: vec2u, end: u32) -> mat4x4<ElementB> {
  let there = lines(base, origin + place_in_slice(i, TILE_N, !TRANS_B), p.N, end, !TRANS_B);
  var v = mat4x4<ElementB>();
  for (var j = 0u; j < 4u; j++) { if (j < there.z) { v[j] = b[there.x + j * there.y]; } }
  return v;
}

// Load the matrix of A at a row of the tile and a k of the slice, or of B at a k and a column; all are divisible by 4.
fn left(row: u32, k: u32) -> Left {
  if (TRANS_A) { return subgroupMatrixLoad<Left, col_major>(&tile_a, k * PITCH_A + row / 4u, PITCH_A); }
  return subgroupMatrixLoad<Left, row_major>(&tile_a, row * PITCH_A + k / 4u, PITCH_A);
}
fn right(k: u32, column: u32) -> Right {
  if (TRANS_B) { return subgroupMatrixLoad<Right, col_major>(&tile_b, column * PITCH_B + k / 4u, PITCH_B); }
  return subgroupMatrixLoad<Right, row_major>(&tile_b, k * PITCH_B + column / 4u, PITCH_B);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) index: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let corner = vec2u(tile.y * TILE_M, tile.x * TILE_N);
  let own = vec2u(subgroup / 4u * (TILE_M / 2u), subgroup % 4u * (TILE_N / 4u)); // within the tile
  let splits = (p.K + p.chunk - 1u) / p.chunk;
  let start = (tile.z % splits) * p.chunk;
  let end = min(p.K, start + p.chunk);
  let n4s = (p.N + 3u) / 4u;
  let a_base = tile.z / splits * select(p.M * ((p.K + 3u) / 4u), p.K * ((p.M + 3u) / 4u), TRANS_A);
  let b_base = tile.z / splits * select(p.K * n4s, p.N * ((p.K + 3u) / 4u), TRANS_B);
  var acc: array<Result, DOWN * ACROSS>;
  var row_sums: array<vec4f, EACH_A>;
  var next_a: array<mat4x4<ElementA>, EACH_A>;
  var next_b: array<mat4x4<ElementB>, EACH_B>;
  // One iteration more than there are slices: the first only moves a slice, the last only multiplies one.
  for (var k0 = start; k0 < end + DEPTH; k0 += DEPTH) {
    for (var i = 0u; i < EACH_A; i++) { next_a[i] = block_a(a_base, index + i * WG, vec2u(corner.x, k0), end); }
    for (var i = 0u; i < EACH_B; i++) { next_b[i] = block_b(b_base, index + i * WG, vec2u(corner.y, k0), end); }
    if (k0 > start) {
      for (var k = 0u; k < DEPTH; k += SK) {
        var rights: array<Right, ACROSS>;
        for (var j = 0u; j < ACROSS; j++) { rights[j] = right(k, own.y + j * SN); }
        for (var i = 0u; i < DOWN; i++) {
          let one = left(own.x + i * SM, k);
          for (var j = 0u; j < ACROSS; j++) {
            acc[i * ACROSS + j] = subgroupMatrixMultiplyAccumulate(one, rights[j], acc[i * ACROSS + j]);
          }
        }
      }
    }
    workgroupBarrier();
    for (var i = 0u; i < EACH_A; i++) {
      let at = place_in_slice(index + i * WG, TILE_M, TRANS_A);
      let to = select(at.x * PITCH_A + at.y / 4u, at.y * PITCH_A + at.x / 4u, TRANS_A);
      if (at.x >= TILE_M || at.y >= DEPTH) { continue; }
      for (var j = 0u; j < 4u; j++) { tile_a[to + j * PITCH_A] = vec4<Part>(next_a[i][j]); }
      if (SUMS) { row_sums[i] += select(vec4f(1.0) * mat4x4f(next_a[i]), mat4x4f(next_a[i]) * vec4f(1.0), TRANS_A); }
    }
    for (var i = 0u; i < EACH_B; i++) {
      let at = place_in_slice(index + i * WG, TILE_N, !TRANS_B);
      let to = select(at.y * PITCH_B + at.x / 4u, at.x * PITCH_B + at.y / 4u, TRANS_B);
      if (at.x >= TILE_N || at.y >= DEPTH) { continue; }
      for (var j = 0u; j < 4u; j++) { tile_b[to + j * PITCH_B] = vec4<Part>(next_b[i][j]); }
    }
    workgroupBarrier();
  }

  if (SUMS) {
    for (var i = 0u; i < EACH_A && index + i * WG < TILE_M / 4u * DEEP; i++) { results[index + i * WG] = row_sums[i]; }
    workgroupBarrier();
    if (tile.x == 0u && index < TILE_M / 4u) {
      var total = vec4f(0.0);
      for (var i = 0u; i < DEEP; i++) { total += results[select(index * DEEP + i, index + i * (TILE_M / 4u), TRANS_A)]; }
      store_row_sums(total, tile.z, corner.x + 4u * index);
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < DOWN * ACROSS; i++) {
    subgroupMatrixStore<row_major>(&results, subgroup * RESULT, acc[i], SN / 4u);
    workgroupBarrier();
    for (var quad = lane; quad < RESULT; quad += LANES) {
      let row = corner.x + own.x + i / ACROSS * SM + quad / (SN / 4u);
      let column4 = (corner.y + own.y + i % ACROSS * SN) / 4u + quad % (SN / 4u);
      if (row >= p.M || column4 >= n4s) { continue; }
      let at = (tile.z * p.M + row) * n4s + column4;
      var value = results[subgroup * RESULT + quad];
      if (BIAS) { value += bias[column4]; }
      c[at] = vec4<ElementC>(finished(value, at));
    }
    workgroupBarrier();
  }
}
