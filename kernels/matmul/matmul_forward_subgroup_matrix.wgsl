// matmul_forward_subgroup_matrix: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE, SUMS and split sums (`chunk`): as matmul_forward's. A, B, C, aux are of f32 or f16, the rest is f32.
// One workgroup of HIGH x WIDE subgroups per tile of TILE_M x TILE_N of C, a batch along z; each owns an equal part of its rows
//   and columns, as matrices of SM x SN. Slices of DEPTH k of A and B pass through workgroup memory as elements of type Part,
//   laid out as in their buffers; one is multiplied while the next is loaded to registers. The elements of a matrix cannot be
//   accessed, so results go through workgroup memory, a matrix of each subgroup at a time, for the epilogue. Loops over matrices
//   and blocks are written out: an array stays in registers only if every index is a constant.
// Limits: the contiguous axes of A, B and C are padded to whole quads, those of A and B with zeros; chunk divides by DEPTH, or
//   is K; SM, SN, SK and Part are a configuration of the adapter with f32 results; SM divides TILE_M / HIGH, SN TILE_N / WIDE,
//   SK DEPTH; every subgroup has LANES lanes.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), HIGH, WIDE, TILE_M, TILE_N, DEPTH, Element….
import package::matmul::epilogue::{finished, store_row_sums};
import package::matmul::slices::{block_a, block_b, left, place_in_slice, right};
enable f16;
enable subgroups;
enable subgroup_size_control;
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
const HIGH = 2u; // tune
const WIDE = 4u; // tune
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
@group(0) @binding(2) var<storage, read> bias: array<vec4f>; // if BIAS
@group(0) @binding(3) var<storage, read_write> c: array<vec4<ElementC>>;
@group(0) @binding(4) var<storage, read_write> aux: array<vec4<ElementC>>; // if EPILOGUE
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // if SUMS
var<immediate> p: Params;

alias Left = subgroup_matrix_left<Part, SK, SM>;
alias Right = subgroup_matrix_right<Part, SN, SK>;
alias Result = subgroup_matrix_result<f32, SN, SM>;

const WG = HIGH * WIDE * LANES;
const DOWN = TILE_M / HIGH / SM; // matrices of a subgroup
const ACROSS = TILE_N / WIDE / SN;
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
var<workgroup> results: array<vec4f, max(HIGH * WIDE * RESULT, TILE_M / 4u * DEEP)>;

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) index: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let corner = vec2u(tile.y * TILE_M, tile.x * TILE_N);
  let own = vec2u(subgroup / WIDE * (TILE_M / HIGH), subgroup % WIDE * (TILE_N / WIDE)); // within the tile
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
  // unroll
  for (var i = 0u; i < EACH_A; i++) { next_a[i] = block_a(a_base, index + i * WG, vec2u(corner.x, start), end); }
  // unroll
  for (var i = 0u; i < EACH_B; i++) { next_b[i] = block_b(b_base, index + i * WG, vec2u(corner.y, start), end); }
  for (var k0 = start; k0 < end; k0 += DEPTH) {
    // unroll
    for (var i = 0u; i < EACH_A; i++) {
      let at = place_in_slice(index + i * WG, TILE_M, TRANS_A);
      let to = select(at.x * PITCH_A + at.y / 4u, at.y * PITCH_A + at.x / 4u, TRANS_A);
      if (at.x < TILE_M && at.y < DEPTH) {
        // unroll
        for (var j = 0u; j < 4u; j++) { tile_a[to + j * PITCH_A] = vec4<Part>(next_a[i][j]); }
      }
      if (SUMS) { row_sums[i] += select(vec4f(1.0) * mat4x4f(next_a[i]), mat4x4f(next_a[i]) * vec4f(1.0), TRANS_A); }
    }
    // unroll
    for (var i = 0u; i < EACH_B; i++) {
      let at = place_in_slice(index + i * WG, TILE_N, !TRANS_B);
      let to = select(at.y * PITCH_B + at.x / 4u, at.x * PITCH_B + at.y / 4u, TRANS_B);
      if (at.x < TILE_N && at.y < DEPTH) {
        // unroll
        for (var j = 0u; j < 4u; j++) { tile_b[to + j * PITCH_B] = vec4<Part>(next_b[i][j]); }
      }
    }
    workgroupBarrier();
    // The next slice is on its way to registers while this one is multiplied.
    let next = vec3u(corner, k0 + DEPTH);
    // unroll
    for (var i = 0u; i < EACH_A; i++) { next_a[i] = block_a(a_base, index + i * WG, next.xz, end); }
    // unroll
    for (var i = 0u; i < EACH_B; i++) { next_b[i] = block_b(b_base, index + i * WG, next.yz, end); }
    // unroll
    for (var k = 0u; k < DEPTH; k += SK) {
      var rights: array<Right, ACROSS>;
      // unroll
      for (var j = 0u; j < ACROSS; j++) { rights[j] = right(k, own.y + j * SN); }
      // unroll
      for (var i = 0u; i < DOWN; i++) {
        let one = left(own.x + i * SM, k);
        // unroll
        for (var j = 0u; j < ACROSS; j++) {
          acc[i * ACROSS + j] = subgroupMatrixMultiplyAccumulate(one, rights[j], acc[i * ACROSS + j]);
        }
      }
    }
    workgroupBarrier();
  }

  if (SUMS) {
    // unroll
    for (var i = 0u; i < EACH_A; i++) {
      if (index + i * WG < TILE_M / 4u * DEEP) { results[index + i * WG] = row_sums[i]; }
    }
    workgroupBarrier();
    if (tile.x == 0u && index < TILE_M / 4u) {
      var total = vec4f(0.0);
      for (var i = 0u; i < DEEP; i++) { total += results[select(index * DEEP + i, index + i * (TILE_M / 4u), TRANS_A)]; }
      store_row_sums(total, tile.z, corner.x + 4u * index);
    }
    workgroupBarrier();
  }
  // unroll
  for (var n = 0u; n < DOWN * ACROSS; n++) {
    subgroupMatrixStore<row_major>(&results, subgroup * RESULT, acc[n], SN / 4u);
    workgroupBarrier();
    for (var quad = lane; quad < RESULT; quad += LANES) {
      let row = corner.x + own.x + n / ACROSS * SM + quad / (SN / 4u);
      let column4 = (corner.y + own.y + n % ACROSS * SN) / 4u + quad % (SN / 4u);
      if (row < p.M && column4 < n4s) {
        let at = (tile.z * p.M + row) * n4s + column4;
        var value = results[subgroup * RESULT + quad];
        if (BIAS) { value += bias[column4]; }
        c[at] = vec4<ElementC>(finished(value, at));
      }
    }
    workgroupBarrier();
  }
}
