// matmul_forward_plain: C[b] (+)= A[b] · B[b] (+ bias),   A (M, K)   B (K, N)   C (M, N)   bias (N)
//   TRANS_A: A is stored (K, M).   TRANS_B: B is stored (N, K), as linear weights [out, in] are.
// EPILOGUE: see epilogue.wgsl. SUMS: sums[m] (+)= Σ_k A[m, k], a bias gradient beside its weight's.
// A, B, C and aux are of f32 or f16, aux as C; sums and bias are f32. HALF: elements of A and B are
//   rounded to f16 (but not for SUMS).
// One invocation per element of C. For software adapters: small products, and sizes that are not whole texels. It has no
//   barrier and compiles at once; the workgroup tile takes a CPU driver's compiler seconds.
// Any M, N, K.
// Tuned: Element…
import package::lib::gelu::{gelu, gelu_slope};
import package::lib::half::{rounded};
import package::matmul::epilogue::{GELU, GELU_GRADIENT, RESIDUAL};
requires immediate_address_space;

alias ElementA = f32; // tune
alias ElementB = f32; // tune
alias ElementC = f32; // tune

override WG: u32 = 64u;
override TRANS_A: bool = false;
override TRANS_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override SUMS: bool = false;
override HALF: bool = false;
override EPILOGUE: u32 = 0u;

struct Params { M: u32, N: u32, K: u32 }

@group(0) @binding(0) var<storage, read> a: array<ElementA>;
@group(0) @binding(1) var<storage, read> b: array<ElementB>;
@group(0) @binding(2) var<storage, read> bias: array<f32>; // if BIAS
@group(0) @binding(3) var<storage, read_write> c: array<ElementC>;
@group(0) @binding(4) var<storage, read_write> aux: array<ElementC>; // if EPILOGUE
@group(0) @binding(5) var<storage, read_write> sums: array<f32>; // if SUMS
var<immediate> p: Params;

// The value to store at element `at` of C, as `finished` of epilogue.wgsl for quads.
fn finished_element(product: f32, at: u32) -> f32 {
  var value = product;
  if (EPILOGUE == RESIDUAL) { value += f32(aux[at]); }
  if (EPILOGUE == GELU) {
    aux[at] = ElementC(value);
    value = gelu(vec4f(value)).x;
  }
  if (EPILOGUE == GELU_GRADIENT) { value *= gelu_slope(vec4f(f32(aux[at]))).x; }
  if (ACCUMULATE) { value += f32(c[at]); }
  return value;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.M * p.N) { return; }
  let row = i / p.N;
  let column = i % p.N;
  // First element and step along k of this row of A and column of B.
  let a_step = select(1u, p.M, TRANS_A);
  let b_step = select(p.N, 1u, TRANS_B);
  var at_a = group.z * p.M * p.K + select(row * p.K, row, TRANS_A);
  var at_b = group.z * p.K * p.N + select(column, column * p.K, TRANS_B);
  var value = 0.0;
  var row_sum = 0.0;
  for (var k = 0u; k < p.K; k++) {
    let left = f32(a[at_a]);
    row_sum += left;
    var pair = vec2f(left, f32(b[at_b]));
    if (HALF) { pair = rounded(vec4f(pair, 0.0, 0.0)).xy; }
    value += pair.x * pair.y;
    at_a += a_step;
    at_b += b_step;
  }
  if (BIAS) { value += bias[column]; }
  let at = group.z * p.M * p.N + i;
  c[at] = ElementC(finished_element(value, at));
  if (SUMS && column == 0u) {
    if (ACCUMULATE) { row_sum += sums[row]; }
    sums[row] = row_sum;
  }
}
