// epilogue: the last step of a product, done while it is in registers
//   EPILOGUE: RESIDUAL adds aux (M, N); GELU leaves the value in aux and stores gelu(value); GELU_GRADIENT multiplies by gelu'(aux)
// needs EPILOGUE, ACCUMULATE, ElementC, aux, c, sums, p
import package::lib::gelu::{gelu, gelu_slope};

const RESIDUAL = 1u;
const GELU = 2u;
const GELU_GRADIENT = 3u;

// The value to store at quad `at` of C.
fn finished(product: vec4f, at: u32) -> vec4f {
  var value = product;
  if (EPILOGUE == RESIDUAL) { value += vec4f(aux[at]); }
  if (EPILOGUE == GELU) { aux[at] = vec4<ElementC>(value); value = gelu(value); }
  if (EPILOGUE == GELU_GRADIENT) { value *= gelu_slope(vec4f(aux[at])); }
  if (ACCUMULATE) { value += vec4f(c[at]); }
  return value;
}

// Stores the sums of rows `row` … `row` + 3 of A, except those beyond M, in the z-th group of M elements of `sums`.
fn store_row_sums(total: vec4f, z: u32, row: u32) {
  for (var i = 0u; i < min(4u, p.M - min(p.M, row)); i++) {
    let at = z * p.M + row + i;
    sums[at] = total[i] + select(0.0, sums[at], ACCUMULATE);
  }
}
