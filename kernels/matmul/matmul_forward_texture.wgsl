// matmul_forward_texture: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)   all f32
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE: see epilogue.wgsl. SUMS: sums[m] (+)= Σ_k A[m, k], a bias gradient beside its weight's.
// HALF: elements of A and B are rounded to f16 (but not for SUMS); products are still summed in f32.
// One subgroup per tile of ROWS rows x 4·LANES columns; lane l owns columns 4l..4l+3 of all rows in registers.
// For software adapters: no barriers; A and B are read through textures of 1024 linear texels a row, because a texel
//   fetch is straight-line code for all lanes, whereas a storage-buffer load branches per lane and component (lib/texel.wgsl). Per quad of k
//   each lane fetches ROWS/LANES rows of A and one 4x4 block of B; all lanes get the rows by constant-lane broadcasts.
//   k is the innermost loop of a row, so that an accumulator is loaded and stored once for four multiply-adds.
// Bias, accumulation and epilogue are parameters: a model needs four pipelines instead of a dozen, which compile slowly.
// Limits: the contiguous axes of A, B and C are padded to whole quads, those of A and B with zeros; with
//   a bias or an epilogue, N divisible by 4; workgroup = one subgroup of LANES lanes; ROWS divisible by LANES, and with
//   TRANS_A by 4·LANES.
// Tuned: LANES (the adapter's subgroup size), ROWS.
import package::lib::half::{rounded};
import package::lib::texel::{texel};
import package::matmul::epilogue::{finished, operand};
import package::matmul::tail::{inside};
enable subgroups;
requires immediate_address_space;

const LANES = 16u; // tune
const ROWS = 64u; // tune
const REPEAT = ROWS / LANES;

alias ElementC = f32; // as epilogue.wgsl names it
override TRANS_A: bool = false;
override TRANS_B: bool = false;
override SUMS: bool = false;
override HALF: bool = false;

struct Params { M: u32, N: u32, K: u32, bias: u32, accumulate: u32, epilogue: u32 }

@group(0) @binding(0) var a: texture_storage_2d<rgba32float, read>;
@group(0) @binding(1) var b: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> bias: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> c: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> aux: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // if SUMS
var<immediate> p: Params;

// As epilogue.wgsl names them.
var<private> EPILOGUE: u32;
var<private> ACCUMULATE: bool;

// acc + Σ_k row[k] · b_k, k innermost.
fn mad(acc: vec4f, row: vec4f, b0: vec4f, b1: vec4f, b2: vec4f, b3: vec4f) -> vec4f {
  return (((acc + row.x * b0) + row.y * b1) + row.z * b2) + row.w * b3;
}

// The rows of one fetch: lane l holds row l, which belongs to accumulator l·REPEAT + r.
fn rank4(acc: ptr<function, array<vec4f, ROWS>>, r: u32, row: vec4f, b0: vec4f, b1: vec4f, b2: vec4f, b3: vec4f) {
  // unroll
  for (var l = 0u; l < LANES; l++) {
    (*acc)[l * REPEAT + r] = mad((*acc)[l * REPEAT + r], subgroupBroadcast(row, l), b0, b1, b2, b3);
  }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  EPILOGUE = p.epilogue;
  ACCUMULATE = p.accumulate == 1u;
  let row0 = tile.y * ROWS;
  let column4 = tile.x * LANES + lane;
  let k4s = (p.K + 3u) / 4u;
  let m4s = (p.M + 3u) / 4u;
  let n4s = (p.N + 3u) / 4u;
  let a_base = tile.z * select(p.M * k4s, p.K * m4s, TRANS_A);
  let b_base = tile.z * select(p.K * n4s, p.N * k4s, TRANS_B);
  var acc: array<vec4f, ROWS>; // one per row of the tile
  var row_sums: array<f32, REPEAT>;

  for (var k4 = 0u; k4 < k4s; k4++) {
    var b0: vec4f; var b1: vec4f; var b2: vec4f; var b3: vec4f;
    if (TRANS_B) {
      let t0 = texel(b, b_base + (4u * column4 + 0u) * k4s + k4);
      let t1 = texel(b, b_base + (4u * column4 + 1u) * k4s + k4);
      let t2 = texel(b, b_base + (4u * column4 + 2u) * k4s + k4);
      let t3 = texel(b, b_base + (4u * column4 + 3u) * k4s + k4);
      b0 = vec4f(t0.x, t1.x, t2.x, t3.x);
      b1 = vec4f(t0.y, t1.y, t2.y, t3.y);
      b2 = vec4f(t0.z, t1.z, t2.z, t3.z);
      b3 = vec4f(t0.w, t1.w, t2.w, t3.w);
    } else {
      let at = b_base + 4u * k4 * n4s + column4;
      b0 = texel(b, at);
      b1 = inside(4u * k4 + 1u, texel(b, at + n4s));
      b2 = inside(4u * k4 + 2u, texel(b, at + 2u * n4s));
      b3 = inside(4u * k4 + 3u, texel(b, at + 3u * n4s));
    }
    // rows[r] on lane l: the four k of tile row l·REPEAT + r.
    var rows: array<vec4f, REPEAT>;
    if (TRANS_A) {
      for (var r = 0u; r < REPEAT; r += 4u) {
        let at = a_base + 4u * k4 * m4s + (row0 + lane * REPEAT + r) / 4u;
        let t0 = texel(a, at);
        let t1 = inside(4u * k4 + 1u, texel(a, at + m4s));
        let t2 = inside(4u * k4 + 2u, texel(a, at + 2u * m4s));
        let t3 = inside(4u * k4 + 3u, texel(a, at + 3u * m4s));
        rows[r] = vec4f(t0.x, t1.x, t2.x, t3.x);
        rows[r + 1u] = vec4f(t0.y, t1.y, t2.y, t3.y);
        rows[r + 2u] = vec4f(t0.z, t1.z, t2.z, t3.z);
        rows[r + 3u] = vec4f(t0.w, t1.w, t2.w, t3.w);
      }
    } else {
      for (var r = 0u; r < REPEAT; r++) {
        rows[r] = texel(a, a_base + (row0 + lane * REPEAT + r) * k4s + k4);
      }
    }
    for (var r = 0u; SUMS && r < REPEAT; r++) { row_sums[r] += dot(rows[r], vec4f(1.0)); }
    if (HALF) {
      for (var r = 0u; r < REPEAT; r++) { rows[r] = rounded(rows[r]); }
      b0 = rounded(b0); b1 = rounded(b1); b2 = rounded(b2); b3 = rounded(b3);
    }
    // unroll
    for (var r = 0u; r < REPEAT; r++) { rank4(&acc, r, rows[r], b0, b1, b2, b3); }
  }

  if (SUMS && tile.x == 0u) {
    for (var r = 0u; r < REPEAT; r++) {
      let row = row0 + lane * REPEAT + r;
      if (row < p.M) {
        var sum = row_sums[r];
        if (ACCUMULATE) { sum += sums[row]; }
        sums[row] = sum;
      }
    }
  }
  if (column4 * 4u >= p.N) { return; }
  // The loop below has a run-time bound, because unrolled buffer stores would take seconds to compile.
  var out: array<vec4f, ROWS>;
  // unroll
  for (var i = 0u; i < ROWS; i++) { out[i] = acc[i]; }
  var add = vec4f(0.0);
  if (p.bias == 1u) { add = bias[column4]; }
  let rows_left = min(ROWS, p.M - row0);
  for (var i = 0u; i < rows_left; i++) {
    let at = (tile.z * p.M + row0 + i) * n4s + column4;
    c[at] = finished(out[i] + add, operand(at), at);
  }
}
