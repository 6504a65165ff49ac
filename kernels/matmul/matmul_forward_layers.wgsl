// matmul_forward_layers: C (+)= A · B (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)   all f32
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE: see epilogue.wgsl. SUMS, with TRANS_A: sums[m] (+)= Σ_k A[m, k], a bias gradient beside its weight's.
// HALF: elements of A and B are rounded to f16 (but not for SUMS); products are still summed in f32.
// One subgroup per tile of ROWS rows x 64 columns; lane l owns columns 4l..4l+3 of all rows.
// For software adapters with vectors of 16 lanes. As in matmul_forward_texture, operands come from textures, here in layers of
//   64 columns (layers.wgsl). A turn takes 16 k: 16 fetches of B, then for each block of four rows one fetch of A, whose 64
//   elements all lanes get by constant-lane broadcasts.
//   A block stands behind a branch that the compiler cannot decide: without it LLVM mixes the blocks and spills registers.
// Limits: N and the contiguous axes of A and B are multiples of 64; workgroup = one subgroup of 16 lanes.
// Tuned: ROWS, a multiple of 4, and with SUMS 64.
import package::matmul::epilogue::{finished};
import package::matmul::layers::{across, factor, other, quad};
import package::matmul::tail::{inside};
enable subgroups;
requires immediate_address_space;

const ROWS = 64u; // tune
const BLOCKS = ROWS / 4u;
const TURN = 16u; // k

alias ElementC = f32; // as epilogue.wgsl names it
override TRANS_A: bool = false;
override TRANS_B: bool = false;
override SUMS: bool = false;
override HALF: bool = false;

struct Params { M: u32, N: u32, K: u32, bias: u32, accumulate: u32, epilogue: u32 }

@group(0) @binding(0) var a: texture_storage_2d_array<rgba32float, read>;
@group(0) @binding(1) var b: texture_storage_2d_array<rgba32float, read>;
@group(0) @binding(2) var beside: texture_storage_2d_array<rgba32float, read>; // aux, where the epilogue reads it
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> aux: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>; // if SUMS
var<immediate> p: Params;

// As epilogue.wgsl names them.
var<private> EPILOGUE: u32;
var<private> ACCUMULATE: bool;

// acc[n..n + 4] += four rows of A, spread over the lanes, · b.
fn add_block(acc: ptr<function, array<vec4f, ROWS>>, n: u32, rows: vec4f, b: ptr<function, array<vec4f, TURN>>) {
  // unroll
  for (var k = 0u; k < TURN; k++) {
    // unroll
    for (var r = 0u; r < 4u; r++) {
      if (TRANS_A) {
        (*acc)[n + r] += subgroupBroadcast(rows[r], k) * (*b)[k];
      } else {
        (*acc)[n + r] += subgroupBroadcast(rows[k % 4u], 4u * r + k / 4u) * (*b)[k];
      }
    }
  }
}

// Σ_k of rows 4·row4 … 4·row4 + 3 of A, quad by quad of k as matmul_forward_texture adds them, so that the bits are the same.
fn row_sums(row4: u32) -> vec4f {
  var total = vec4f(0.0);
  for (var k = 0u; k < p.K; k += 4u) {
    let pair = inside(k, quad(a, row4, k)) + inside(k + 1u, quad(a, row4, k + 1u));
    total += (pair + inside(k + 2u, quad(a, row4, k + 2u))) + inside(k + 3u, quad(a, row4, k + 3u));
  }
  return total;
}

@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  EPILOGUE = p.epilogue;
  ACCUMULATE = p.accumulate == 1u;
  let row0 = tile.y * ROWS;
  let column4 = tile.x * 16u + lane;
  var acc: array<vec4f, ROWS>; // one per row of the tile
  for (var k0 = 0u; k0 < p.K; k0 += TURN) {
    var columns: array<vec4f, TURN>;
    if (TRANS_B) {
      // unroll
      for (var k = 0u; k < TURN; k += 4u) {
        let t0 = factor(quad(b, (k0 + k) / 4u, 4u * column4));
        let t1 = factor(quad(b, (k0 + k) / 4u, 4u * column4 + 1u));
        let t2 = factor(quad(b, (k0 + k) / 4u, 4u * column4 + 2u));
        let t3 = factor(quad(b, (k0 + k) / 4u, 4u * column4 + 3u));
        // unroll
        for (var e = 0u; e < 4u; e++) { columns[k + e] = across(t0, t1, t2, t3, e); }
      }
    } else {
      // unroll
      for (var k = 0u; k < TURN; k++) { columns[k] = factor(inside(k0 + k, quad(b, column4, k0 + k))); }
    }
    // unroll
    for (var n = 0u; n < BLOCKS; n++) {
      if (p.M > row0 + 4u * n) {
        var rows: vec4f;
        if (TRANS_A) {
          rows = inside(k0 + lane, quad(a, row0 / 4u + n, k0 + lane));
        } else {
          rows = quad(a, k0 / 4u + lane % 4u, row0 + 4u * n + lane / 4u);
        }
        add_block(&acc, 4u * n, factor(rows), &columns);
      }
    }
  }

  if (SUMS && tile.x == 0u) {
    let total = row_sums(row0 / 4u + lane);
    let row = row0 + 4u * lane;
    for (var i = 0u; i < min(4u, p.M - min(p.M, row)); i++) {
      var sum = total[i];
      if (ACCUMULATE) { sum += sums[row + i]; }
      sums[row + i] = sum;
    }
  }
  // The loop below has a run-time bound, because unrolled buffer stores would take seconds to compile.
  var out: array<vec4f, ROWS>;
  // unroll
  for (var i = 0u; i < ROWS; i++) { out[i] = acc[i]; }
  var add = vec4f(0.0);
  if (p.bias == 1u) { add = bias[column4]; }
  let rows_left = min(ROWS, p.M - row0);
  for (var i = 0u; i < rows_left; i++) {
    let at = (row0 + i) * (p.N / 4u) + column4;
    c[at] = finished(out[i] + add, other(column4, row0 + i), at);
  }
}
