// matmul_forward_subgroup_matrix: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE, SUMS (with TRANS_A only) and split sums (`chunk`): as matmul_forward's. A, B, C, aux are of f32 or f16, the rest is f32.
// One workgroup of HIGH x WIDE subgroups per tile of TILE_M x TILE_N of C, a batch along z; each owns an equal part of its rows
//   and columns, as matrices of SM x SN. Slices of DEPTH k of A and B pass through workgroup memory as elements of type Part,
//   laid out as in their buffers, in units of 16 bytes. A workgroup waits for each slice, so several share a multiprocessor, and
//   slices are long. The elements of a matrix cannot be accessed, so results go through workgroup memory, AT_ONCE matrices of each
//   subgroup at a time, for the epilogue. Loops over matrices and units are written out: an array stays in registers only if
//   every index is a constant.
// Limits: the contiguous axes of A and B are padded with zeros to whole units, that of C to whole quads; chunk divides by DEPTH,
//   or is K; SM, SN, SK and Part are a configuration of the adapter with f32 results; SM divides TILE_M / HIGH, SN TILE_N / WIDE,
//   SK DEPTH, AT_ONCE the matrices of a subgroup side by side; TILE_M / UNIT_A divides WG; every subgroup has LANES lanes.
// Tuned: Part, SM, SN, SK (the adapter's), LANES (its subgroup size), HIGH, WIDE, TILE_M, TILE_N, DEPTH, AT_ONCE, ElementC,
//   UNIT_A and UNIT_B: elements of a unit, 8 of f16 or 4 of f32.
import package::matmul::epilogue::{finished, operand, store_row_sums};
import package::matmul::slices::{first_half, left, line_a, line_b, place_in_slice};
import package::matmul::slices::{put_a, put_b, right, second_half, unit_a, unit_b};
enable f16;
enable subgroups;
enable subgroup_size_control;
enable chromium_experimental_subgroup_matrix;
requires immediate_address_space;
requires subgroup_id;

alias Part = f16; // tune
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
const AT_ONCE = 1u; // tune
const UNIT_A = 8u; // tune
const UNIT_B = 8u; // tune

override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override SUMS: bool = false;
override EPILOGUE: u32 = 0u;

struct Params { M: u32, N: u32, K: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> a: array<vec4u>;
@group(0) @binding(1) var<storage, read> b: array<vec4u>;
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
const EACH_A = (TILE_M / UNIT_A * DEPTH + WG - 1u) / WG; // units that an invocation moves
const EACH_B = (TILE_N / UNIT_B * DEPTH + WG - 1u) / WG;
// Results of AT_ONCE matrices side by side: quads of a row, from one row to the next, and of an invocation.
const STRIP = AT_ONCE * SN / 4u;
const PITCH = STRIP + 1u;
const EACH = (SM * STRIP + LANES - 1u) / LANES;
// Quads from one line of a slice to the next: two more than a line has, so that neighbouring lines start on different banks.
override PITCH_A: u32 = select(DEEP, TILE_M / 4u, TRANS_A) + 2u;
override PITCH_B: u32 = select(TILE_N / 4u, DEEP, TRANS_B) + 2u;

// Offsets and strides of subgroupMatrixLoad and subgroupMatrixStore count elements of these arrays, which are quads.
var<workgroup> tile_a: array<vec4<Part>, TILE_M * (DEEP + 2u)>;
var<workgroup> tile_b: array<vec4<Part>, TILE_N * (DEEP + 2u)>;
var<workgroup> results: array<vec4f, max(HIGH * WIDE * SM * PITCH, 2u * WG)>; // or two quads of each invocation

@compute @subgroup_size(LANES) @workgroup_size(WG)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) index: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let corner = vec2u(tile.y * TILE_M, tile.x * TILE_N);
  let own = vec2u(subgroup / WIDE * (TILE_M / HIGH), subgroup % WIDE * (TILE_N / WIDE)); // within the tile
  let splits = (p.K + p.chunk - 1u) / p.chunk;
  let start = (tile.z % splits) * p.chunk;
  let end = min(p.K, start + p.chunk);
  let n4s = (p.N + 3u) / 4u;
  let a_base = tile.z / splits * select(p.M, p.K, TRANS_A) * line_a();
  let b_base = tile.z / splits * select(p.K, p.N, TRANS_B) * line_b();
  var acc: array<Result, DOWN * ACROSS>;
  var row_sums: array<vec4f, 2>; // of the rows of this invocation's units
  var next_a: array<vec4u, EACH_A>;
  var next_b: array<vec4u, EACH_B>;
  // unroll
  for (var i = 0u; i < EACH_A; i++) { next_a[i] = unit_a(a_base, index + i * WG, vec2u(corner.x, start)); }
  // unroll
  for (var i = 0u; i < EACH_B; i++) { next_b[i] = unit_b(b_base, index + i * WG, vec2u(corner.y, start)); }
  for (var k0 = start; k0 < end; k0 += DEPTH) {
    let left_k = min(DEPTH, end - k0); // k of this slice; the rest of it becomes zeros
    // unroll
    for (var i = 0u; i < EACH_A; i++) {
      let v = select(vec4u(), next_a[i], place_in_slice(index + i * WG, UNIT_A, TILE_M, TRANS_A).y < left_k);
      put_a(index + i * WG, v);
      if (SUMS && UNIT_A == 4u) { row_sums[0] += bitcast<vec4f>(v); }
      if (SUMS && UNIT_A == 8u) { row_sums[0] += vec4f(first_half(v)); row_sums[1] += vec4f(second_half(v)); }
    }
    // unroll
    for (var i = 0u; i < EACH_B; i++) {
      put_b(index + i * WG, select(vec4u(), next_b[i], place_in_slice(index + i * WG, UNIT_B, TILE_N, !TRANS_B).y < left_k));
    }
    let next = vec3u(corner, k0 + DEPTH);
    // unroll
    for (var i = 0u; i < EACH_A; i++) { next_a[i] = unit_a(a_base, index + i * WG, next.xz); }
    // unroll
    for (var i = 0u; i < EACH_B; i++) { next_b[i] = unit_b(b_base, index + i * WG, next.yz); }
    workgroupBarrier();
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
    // Invocations a line apart have moved the same rows.
    results[index * (UNIT_A / 4u)] = row_sums[0];
    if (UNIT_A == 8u) { results[2u * index + 1u] = row_sums[1]; }
    workgroupBarrier();
    if (tile.x == 0u && index < TILE_M / 4u) {
      var total = vec4f(0.0);
      for (var i = index; i < WG * (UNIT_A / 4u); i += TILE_M / 4u) { total += results[i]; }
      store_row_sums(total, tile.z, corner.x + 4u * index);
    }
    workgroupBarrier();
  }
  // unroll
  for (var n = 0u; n < DOWN * ACROSS; n += AT_ONCE) {
    // unroll
    for (var m = 0u; m < AT_ONCE; m++) {
      subgroupMatrixStore<row_major>(&results, subgroup * SM * PITCH + m * (SN / 4u), acc[n + m], PITCH);
    }
    var others: array<vec4f, EACH>;
    // unroll
    for (var m = 0u; m < EACH; m++) {
      let to = place_in_c(n, lane + m * LANES, corner + own);
      others[m] = operand(select(0u, (tile.z * p.M + to.x) * n4s + to.y, to.x < p.M && to.y < n4s));
    }
    workgroupBarrier();
    // unroll
    for (var m = 0u; m < EACH; m++) {
      let quad = lane + m * LANES;
      let to = place_in_c(n, quad, corner + own);
      if (quad < SM * STRIP && to.x < p.M && to.y < n4s) {
        let at = (tile.z * p.M + to.x) * n4s + to.y;
        var value = results[(subgroup * SM + quad / STRIP) * PITCH + quad % STRIP];
        if (BIAS) { value += bias[to.y]; }
        c[at] = vec4<ElementC>(finished(value, others[m], at));
      }
    }
    workgroupBarrier();
  }
}

// The row and the quad of columns of a quad of the strip at matrix n, of a subgroup whose part of C begins at `first`.
fn place_in_c(n: u32, quad: u32, first: vec2u) -> vec2u {
  return vec2u(first.x + n / ACROSS * SM + quad / STRIP, (first.y + n % ACROSS * SN) / 4u + quad % STRIP);
}
