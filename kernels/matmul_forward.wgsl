// matmul_forward: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)   all f32
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE, done while the product is in registers: RESIDUAL adds aux (M, N); GELU leaves the value in aux and stores
//   gelu(value); GELU_GRADIENT multiplies by gelu'(aux). SUMS: sums[m] (+)= Σ_k A[m, k], a bias gradient beside its weight's.
// One workgroup of 16 x 16 invocations per tile of 64 x 64 of C, a batch along z; invocation (x, y) owns the 4 x 4
//   elements at rows y + 16 i, columns x + 16 j, in registers. Slices of 16 k of A and B pass through workgroup memory.
// Any M, N, K: what lies outside is loaded as zero and not stored.
// Tuned: nothing.
requires immediate_address_space;

override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override SUMS: bool = false;
override EPILOGUE: u32 = 0u;
const RESIDUAL = 1u;
const GELU = 2u;
const GELU_GRADIENT = 3u;

struct Params { M: u32, N: u32, K: u32 }

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
@group(0) @binding(4) var<storage, read_write> aux: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<f32>;
var<immediate> p: Params;

const TILE = 64u;
const DEPTH = 16u;
const SIDE = 16u;
const EACH = 4u;
// One float of padding a row, so that a column of the tile does not fall on one bank.
const PITCH = 65u;

var<workgroup> tile_a: array<f32, 1040>; // DEPTH x PITCH: k-major
var<workgroup> tile_b: array<f32, 1040>;

fn load_a(base: u32, row: u32, k: u32) -> f32 {
  if (row >= p.M || k >= p.K) { return 0.0; }
  if (TRANS_A) { return a[base + k * p.M + row]; }
  return a[base + row * p.K + k];
}

fn load_b(base: u32, k: u32, column: u32) -> f32 {
  if (column >= p.N || k >= p.K) { return 0.0; }
  if (TRANS_B) { return b[base + column * p.K + k]; }
  return b[base + k * p.N + column];
}

// erf(x) = 1 − erfc(x), erfc by a rational approximation of Chebyshev type, relative error below 1.2e-7 (Press et al.,
// Numerical Recipes, 6.2).
fn erf(x: f32) -> f32 {
  let z = abs(x);
  let t = 1.0 / (1.0 + 0.5 * z);
  let poly = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  return sign(x) * (1.0 - t * exp(-z * z + poly));
}

// What is stored at `at`: the product with what EPILOGUE asks for.
fn finished(product: f32, at: u32) -> f32 {
  var value = product;
  if (EPILOGUE == RESIDUAL) { value += aux[at]; }
  if (EPILOGUE == GELU) {
    aux[at] = value;
    value = 0.5 * value * (1.0 + erf(value * 0.70710678118));
  }
  if (EPILOGUE == GELU_GRADIENT) {
    let v = aux[at];
    value *= 0.5 * (1.0 + erf(v * 0.70710678118)) + v * 0.3989422804 * exp(-0.5 * v * v);
  }
  if (ACCUMULATE) { value += c[at]; }
  return value;
}

@compute @workgroup_size(SIDE, SIDE)
fn main(
  @builtin(workgroup_id) tile: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) index: u32,
) {
  let row0 = tile.y * TILE;
  let column0 = tile.x * TILE;
  let a_base = tile.z * p.M * p.K;
  let b_base = tile.z * p.K * p.N;
  var acc: array<array<f32, EACH>, EACH>;
  var row_sums: array<f32, EACH>;

  for (var k0 = 0u; k0 < p.K; k0 += DEPTH) {
    // 1024 elements of each slice by 256 invocations; neighbours read neighbours along the stored axis.
    for (var i = 0u; i < EACH; i++) {
      let at = index + 256u * i;
      let outer = at / TILE; // 0..15
      let inner = at % TILE; // 0..63
      let k_a = select(at % DEPTH, outer, TRANS_A);
      let row = select(at / DEPTH, inner, TRANS_A);
      tile_a[k_a * PITCH + row] = load_a(a_base, row0 + row, k0 + k_a);
      let k_b = select(outer, at % DEPTH, TRANS_B);
      let column = select(inner, at / DEPTH, TRANS_B);
      tile_b[k_b * PITCH + column] = load_b(b_base, k0 + k_b, column0 + column);
    }
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      var mine: array<f32, EACH>;
      for (var j = 0u; j < EACH; j++) { mine[j] = tile_b[k * PITCH + local.x + SIDE * j]; }
      for (var i = 0u; i < EACH; i++) {
        let left = tile_a[k * PITCH + local.y + SIDE * i];
        if (SUMS) { row_sums[i] += left; }
        for (var j = 0u; j < EACH; j++) { acc[i][j] += left * mine[j]; }
      }
    }
    workgroupBarrier();
  }

  // Every column of invocations has the same sums; the first of the first tile stores them.
  if (SUMS && tile.x == 0u && local.x == 0u) {
    for (var i = 0u; i < EACH; i++) {
      let row = row0 + local.y + SIDE * i;
      if (row < p.M) {
        var sum = row_sums[i];
        if (ACCUMULATE) { sum += sums[row]; }
        sums[row] = sum;
      }
    }
  }
  for (var i = 0u; i < EACH; i++) {
    for (var j = 0u; j < EACH; j++) {
      let row = row0 + local.y + SIDE * i;
      let column = column0 + local.x + SIDE * j;
      if (row < p.M && column < p.N) {
        let at = (tile.z * p.M + row) * p.N + column;
        var value = acc[i][j];
        if (BIAS) { value += bias[column]; }
        c[at] = finished(value, at);
      }
    }
  }
}
