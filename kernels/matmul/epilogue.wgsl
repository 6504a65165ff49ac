// epilogue: the last step of a product, done while it is in registers
//   EPILOGUE: RESIDUAL adds aux (M, N); GELU leaves the value in aux and stores gelu(value); GELU_GRADIENT multiplies by gelu'(aux)
// needs EPILOGUE, ACCUMULATE, ElementC, aux, c, sums, p
import package::lib::gelu::{gelu, gelu_slope};

const RESIDUAL = 1u;
const GELU = 2u;
const GELU_GRADIENT = 3u;

// The quad of aux that quad `at` of C needs, loaded for several quads before the first of them is finished; else zeros.
fn operand(at: u32) -> vec4f {
  if (EPILOGUE == RESIDUAL || EPILOGUE == GELU_GRADIENT) { return vec4f(aux[at]); }
  return vec4f(0.0);
}

// The value to store at quad `at` of C, from its product and its operand.
fn finished(product: vec4f, other: vec4f, at: u32) -> vec4f {
  var value = product;
  if (EPILOGUE == RESIDUAL) { value += other; }
  if (EPILOGUE == GELU) { aux[at] = vec4<ElementC>(value); value = gelu(value); }
  if (EPILOGUE == GELU_GRADIENT) { value *= gelu_slope(other); }
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
