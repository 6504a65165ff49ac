// matmul_forward_texture: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)   all f32
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE: see epilogue.wgsl. SUMS: sums[m] (+)= Σ_k A[m, k], a bias gradient beside its weight's.
// HALF: elements of A and B are rounded to f16 (but not for SUMS); products are still summed in f32.
// One subgroup per tile of 64 rows x 4·LANES columns; lane l owns columns 4l..4l+3 of all 64 rows in registers.
// For software adapters: no barriers; A and B are read through textures of 1024 linear texels a row, because a texel
//   fetch is straight-line code for all lanes, whereas a storage-buffer load branches per lane and component (lib/texel.wgsl).
//   A turn takes LANES k. Each lane fetches its columns of B for all of them. Then, for each block of four rows, one fetch of A
//   holds 4 rows x LANES k over the lanes, and all lanes get its elements by constant-lane broadcasts.
//   A block stands behind a branch that the compiler cannot decide: without it LLVM mixes the blocks and spills (half the speed).
// Limits: the contiguous axes of A, B and C are padded to whole quads, those of A and B with zeros; with
//   BIAS or EPILOGUE, N divisible by 4; workgroup = one subgroup of LANES lanes.
// Tuned: LANES (the adapter's subgroup size).
import package::lib::half::{rounded};
import package::lib::texel::{texel};
import package::matmul::epilogue::{finished};
enable subgroups;
requires immediate_address_space;

const LANES = 16u; // tune
const ROWS = 64u;
const QUADS = LANES / 4u; // of k in a turn

alias ElementC = f32; // as epilogue.wgsl names it
override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override SUMS: bool = false;
override HALF: bool = false;
override EPILOGUE: u32 = 0u;

struct Params { M: u32, N: u32, K: u32 }

@group(0) @binding(0) var a: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> aux: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
var<immediate> p: Params;

// Values beyond the last k belong to the next matrix or to no tensor, and may be anything, even NaN.
fn inside(k: u32, value: vec4f) -> vec4f { return select(vec4f(0.0), value, k < p.K); }

fn operand(value: vec4f) -> vec4f {
  if (HALF) { return rounded(value); }
  return value;
}

// acc[n..n + 4] += four rows of A, spread over the lanes, · b.
fn add_block(acc: ptr<function, array<vec4f, 64>>, n: u32, rows: vec4f, b: ptr<function, array<vec4f, LANES>>) {
  var c0 = (*acc)[n];
  var c1 = (*acc)[n + 1u];
  var c2 = (*acc)[n + 2u];
  var c3 = (*acc)[n + 3u];
  if (TRANS_A) {
    // unroll
    for (var k = 0u; k < LANES; k++) {
      c0 += subgroupBroadcast(rows.x, k) * (*b)[k];
      c1 += subgroupBroadcast(rows.y, k) * (*b)[k];
      c2 += subgroupBroadcast(rows.z, k) * (*b)[k];
      c3 += subgroupBroadcast(rows.w, k) * (*b)[k];
    }
  } else {
    // unroll
    for (var k = 0u; k < LANES; k++) {
      c0 += subgroupBroadcast(rows[k % 4u], k / 4u) * (*b)[k];
      c1 += subgroupBroadcast(rows[k % 4u], QUADS + k / 4u) * (*b)[k];
      c2 += subgroupBroadcast(rows[k % 4u], 2u * QUADS + k / 4u) * (*b)[k];
      c3 += subgroupBroadcast(rows[k % 4u], 3u * QUADS + k / 4u) * (*b)[k];
    }
  }
  (*acc)[n] = c0;
  (*acc)[n + 1u] = c1;
  (*acc)[n + 2u] = c2;
  (*acc)[n + 3u] = c3;
}

// Sums of the four rows of a block from the lanes' shares.
fn block_sums(share: vec4f, lane: u32) -> vec4f {
  if (TRANS_A) { return subgroupAdd(share); }
  let mine = dot(share, vec4f(1.0));
  let row = lane / QUADS;
  return vec4f(
    subgroupAdd(select(0.0, mine, row == 0u)), subgroupAdd(select(0.0, mine, row == 1u)),
    subgroupAdd(select(0.0, mine, row == 2u)), subgroupAdd(select(0.0, mine, row == 3u)));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row0 = tile.y * ROWS;
  let column4 = tile.x * LANES + lane;
  let k4s = (p.K + 3u) / 4u;
  let m4s = (p.M + 3u) / 4u;
  let n4s = (p.N + 3u) / 4u;
  let a_base = tile.z * select(p.M * k4s, p.K * m4s, TRANS_A);
  let b_base = tile.z * select(p.K * n4s, p.N * k4s, TRANS_B);
  var acc: array<vec4f, 64>; // one per row of the tile
  var shares: array<vec4f, 16>; // of the sums of each block
  for (var k0 = 0u; k0 < p.K; k0 += LANES) {
    var columns: array<vec4f, LANES>;
    if (TRANS_B) {
      // unroll
      for (var q = 0u; q < LANES / 4u; q++) {
        let at = b_base + 4u * column4 * k4s + k0 / 4u + q;
        let t0 = operand(inside(k0 + 4u * q, texel(b, at)));
        let t1 = operand(inside(k0 + 4u * q, texel(b, at + k4s)));
        let t2 = operand(inside(k0 + 4u * q, texel(b, at + 2u * k4s)));
        let t3 = operand(inside(k0 + 4u * q, texel(b, at + 3u * k4s)));
        // unroll
        for (var e = 0u; e < 4u; e++) { columns[4u * q + e] = vec4f(t0[e], t1[e], t2[e], t3[e]); }
      }
    } else {
      // unroll
      for (var k = 0u; k < LANES; k++) {
        columns[k] = operand(inside(k0 + k, texel(b, b_base + (k0 + k) * n4s + column4)));
      }
    }
    // unroll
    for (var n = 0u; n < 16u; n++) {
      if (p.M > row0 + 4u * n) {
        var rows: vec4f;
        if (TRANS_A) {
          rows = inside(k0 + lane, texel(a, a_base + (k0 + lane) * m4s + row0 / 4u + n));
        } else {
          let k4 = k0 / 4u + lane % QUADS;
          rows = inside(4u * k4, texel(a, a_base + (row0 + 4u * n + lane / QUADS) * k4s + k4));
        }
        if (SUMS) { shares[n] += rows; }
        add_block(&acc, 4u * n, operand(rows), &columns);
      }
    }
  }

  if (SUMS && tile.x == 0u) {
    // unroll
    for (var n = 0u; n < 16u; n++) {
      let row = row0 + 4u * n + lane;
      let total = block_sums(shares[n], lane);
      if (lane < 4u && row < p.M) {
        var sum = total[lane];
        if (ACCUMULATE) { sum += sums[row]; }
        sums[row] = sum;
      }
    }
  }
  if (column4 * 4u >= p.N) { return; }
  // The loop has a run-time bound, because 64 unrolled buffer stores would take seconds to compile.
  var out: array<vec4f, 64>;
  // unroll
  for (var i = 0u; i < 64u; i++) { out[i] = acc[i]; }
  var add = vec4f(0.0);
  if (BIAS) { add = bias[column4]; }
  let rows_left = min(ROWS, p.M - row0);
  for (var i = 0u; i < rows_left; i++) {
    let at = (tile.z * p.M + row0 + i) * n4s + column4;
    c[at] = finished(out[i] + add, at);
  }
}
