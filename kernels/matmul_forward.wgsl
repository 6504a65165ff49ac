// matmul_forward: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)   all f32
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// One workgroup of 16 x 16 invocations per tile of 64 x 64 of C, a batch along z; invocation (x, y) owns the 4 x 4
//   elements at rows y + 16 i, columns x + 16 j, in registers. Slices of 16 k of A and B pass through workgroup memory.
// Any M, N, K: what lies outside is loaded as zero and not stored.
// Tuned: nothing.
requires immediate_address_space;

override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;

struct Params { M: u32, N: u32, K: u32 }

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;
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
        for (var j = 0u; j < EACH; j++) { acc[i][j] += left * mine[j]; }
      }
    }
    workgroupBarrier();
  }

  for (var i = 0u; i < EACH; i++) {
    for (var j = 0u; j < EACH; j++) {
      let row = row0 + local.y + SIDE * i;
      let column = column0 + local.x + SIDE * j;
      if (row < p.M && column < p.N) {
        let at = (tile.z * p.M + row) * p.N + column;
        var value = acc[i][j];
        if (BIAS) { value += bias[column]; }
        if (ACCUMULATE) { value += c[at]; }
        c[at] = value;
      }
    }
  }
}
