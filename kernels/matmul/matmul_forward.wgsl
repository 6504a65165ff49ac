// matmul_forward: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE: see epilogue.wgsl. SUMS: sums[m] (+)= Σ_k A[m, k], a bias gradient beside its weight's.
// A, B, C and aux are of f32 or f16, aux as C; sums and bias are f32. HALF: elements of A and B are
//   rounded to f16 (but not for SUMS).
// Split sums: if `chunk` is less than K, workgroup z takes k from z·chunk on and writes the z-th partial C and sums;
//   another kernel adds them up.
// One workgroup of 16 x HIGH invocations per tile of 4·HIGH·QM x 64·QN of C, a batch along z. Invocation (x, y) owns QM x QN
//   blocks of 4 x 4, at rows 4 (y + HIGH·i) and columns 4 (x + 16 j), in registers; 32 neighbours are 8 x 4 of them, so that
//   they read few quads of workgroup memory. Slices of DEPTH k pass through it k-major, in two buffers: one slice is multiplied
//   while the next is loaded. A slice moves in blocks of 4 x 4, at most one an invocation, transposed if k is contiguous.
// Limits: the contiguous axes of A, B and C are padded to whole quads, those of A and B with zeros;
//   chunk divides by DEPTH, or is K.
// Tuned: HIGH (8 or 16), QM, QN, DEPTH: an invocation moves at most one block of 4 x 4 of a slice; Element….
import package::lib::half::{rounded};
import package::matmul::epilogue::{finished, operand, store_row_sums};
requires immediate_address_space;

const HIGH = 16u; // tune
const QM = 1u; // tune
const QN = 1u; // tune
const DEPTH = 16u; // tune
alias ElementA = f32; // tune
alias ElementB = f32; // tune
alias ElementC = f32; // tune

override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override SUMS: bool = false;
override HALF: bool = false;
override EPILOGUE: u32 = 0u;

struct Params { M: u32, N: u32, K: u32, chunk: u32 }

@group(0) @binding(0) var<storage, read> a: array<vec4<ElementA>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<ElementB>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>; // if BIAS
@group(0) @binding(3) var<storage, read_write> c: array<vec4<ElementC>>;
@group(0) @binding(4) var<storage, read_write> aux: array<vec4<ElementC>>; // if EPILOGUE
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // if SUMS
var<immediate> p: Params;

// Quads of a line of a slice: rows of A, columns of B.
const WIDE_A = HIGH * QM;
const WIDE_B = 16u * QN;
const DEEP = DEPTH / 4u;

var<workgroup> tile_a: array<vec4f, 2u * DEPTH * WIDE_A>;
var<workgroup> tile_b: array<vec4f, 2u * DEPTH * WIDE_B>;

// The block at rows row … row + 3 and k … k + 3 of A: a vector of rows for each k. Zero beyond M and `end`.
fn block_a(base: u32, row: u32, k: u32, end: u32) -> mat4x4f {
  let line = select(row, k, TRANS_A);
  let lines = select(p.M, end, TRANS_A);
  let pitch = (select(p.K, p.M, TRANS_A) + 3u) / 4u;
  let at = base + line * pitch + select(k, row, TRANS_A) / 4u;
  var v = mat4x4f();
  if (row < p.M && k < end) {
    // unroll
    for (var i = 0u; i < 4u; i++) { if (line + i < lines) { v[i] = vec4f(a[at + i * pitch]); } }
  }
  if (TRANS_A) { return v; }
  return transpose(v);
}

// The same for B: a vector of columns for each k.
fn block_b(base: u32, column: u32, k: u32, end: u32) -> mat4x4f {
  let line = select(k, column, TRANS_B);
  let lines = select(end, p.N, TRANS_B);
  let pitch = (select(p.N, p.K, TRANS_B) + 3u) / 4u;
  let at = base + line * pitch + select(column, k, TRANS_B) / 4u;
  var v = mat4x4f();
  if (column < p.N && k < end) {
    // unroll
    for (var i = 0u; i < 4u; i++) { if (line + i < lines) { v[i] = vec4f(b[at + i * pitch]); } }
  }
  if (TRANS_B) { return transpose(v); }
  return v;
}

@compute @workgroup_size(16u * HIGH)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_index) index: u32) {
  let row0 = tile.y * 4u * WIDE_A;
  let column0 = tile.x * 64u * QN;
  let splits = (p.K + p.chunk - 1u) / p.chunk;
  let batch = tile.z / splits;
  let start = (tile.z % splits) * p.chunk;
  let end = min(p.K, start + p.chunk);
  let n4s = (p.N + 3u) / 4u;
  let k4s = (p.K + 3u) / 4u;
  let a_base = batch * select(p.M * k4s, p.K * ((p.M + 3u) / 4u), TRANS_A);
  let b_base = batch * select(p.K * n4s, p.N * k4s, TRANS_B);

  // The block that this invocation moves: quad `wide` of the lines of k = 4 deep … 4 deep + 3. Eight neighbours move
  // neighbouring quads, so that their stores have no bank conflicts.
  let of_b = index >= WIDE_A * DEEP;
  let block = select(index, index - WIDE_A * DEEP, of_b);
  let deep = block / 8u % DEEP;
  let wide = block % 8u + block / (8u * DEEP) * 8u;
  let moves = wide < select(WIDE_A, WIDE_B, of_b);

  let x = index % 8u + index / 32u % 2u * 8u;
  let y = index / 8u % 4u + index / 64u * 4u;
  var acc: array<vec4f, 4u * QM * QN>; // row c of block (i, j) at (4i + c)·QN + j
  var row_sums = vec4f(0.0);
  var next = mat4x4f();
  var turn = 1u;
  // One iteration more than there are slices: the first only moves a slice, the last only multiplies one.
  for (var k0 = start; k0 < end + DEPTH; k0 += DEPTH) {
    if (moves && k0 < end) {
      if (of_b) { next = block_b(b_base, column0 + 4u * wide, k0 + 4u * deep, end); }
      else { next = block_a(a_base, row0 + 4u * wide, k0 + 4u * deep, end); }
    }
    if (k0 > start) {
      // unroll
      for (var k = 0u; k < DEPTH; k++) {
        let line = turn * DEPTH + k;
        var right = array<vec4f, QN>();
        // unroll
        for (var j = 0u; j < QN; j++) { right[j] = tile_b[line * WIDE_B + x + 16u * j]; }
        // unroll
        for (var i = 0u; i < QM; i++) {
          let left = tile_a[line * WIDE_A + y + HIGH * i];
          // unroll
          for (var j = 0u; j < QN; j++) {
            acc[(4u * i + 0u) * QN + j] += left.x * right[j];
            acc[(4u * i + 1u) * QN + j] += left.y * right[j];
            acc[(4u * i + 2u) * QN + j] += left.z * right[j];
            acc[(4u * i + 3u) * QN + j] += left.w * right[j];
          }
        }
      }
    }
    turn = 1u - turn;
    if (moves && k0 < end) {
      // After the product, so that it did not wait for these loads.
      if (SUMS) { row_sums += next[0] + next[1] + (next[2] + next[3]); }
      let line = turn * DEPTH + 4u * deep;
      // unroll
      for (var i = 0u; i < 4u; i++) {
        var part = next[i];
        if (HALF) { part = rounded(part); }
        if (of_b) { tile_b[(line + i) * WIDE_B + wide] = part; }
        else { tile_a[(line + i) * WIDE_A + wide] = part; }
      }
    }
    workgroupBarrier();
  }

  if (SUMS) {
    if (!of_b) { tile_a[deep * WIDE_A + wide] = row_sums; }
    workgroupBarrier();
    if (tile.x == 0u && index < WIDE_A) {
      var total = vec4f(0.0);
      for (var i = 0u; i < DEEP; i++) { total += tile_a[i * WIDE_A + index]; }
      store_row_sums(total, tile.z, row0 + 4u * index);
    }
  }
  // unroll
  for (var i = 0u; i < 4u * QM; i++) {
    let row = row0 + 4u * (y + i / 4u * HIGH) + i % 4u;
    // unroll
    for (var j = 0u; j < QN; j++) {
      let column4 = column0 / 4u + x + 16u * j;
      if (row < p.M && column4 < n4s) {
        let at = (tile.z * p.M + row) * n4s + column4;
        var value = acc[i * QN + j];
        if (BIAS) { value += bias[column4]; }
        c[at] = vec4<ElementC>(finished(value, operand(at), at));
      }
    }
  }
}
