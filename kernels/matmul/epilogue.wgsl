// epilogue: the step after a product, done while it is in registers
// needs EPILOGUE, ACCUMULATE, ElementC, aux, c
import package::lib::gelu::{gelu, gelu_slope};

const RESIDUAL = 1u;
const GELU = 2u;
const GELU_GRADIENT = 3u;

// The value to store at quad `at` of C. GELU leaves the value before it in aux, for the backward pass.
fn finished(product: vec4f, at: u32) -> vec4f {
  var value = product;
  if (EPILOGUE == RESIDUAL) { value += vec4f(aux[at]); }
  if (EPILOGUE == GELU) { aux[at] = vec4<ElementC>(value); value = gelu(value); }
  if (EPILOGUE == GELU_GRADIENT) { value *= gelu_slope(vec4f(aux[at])); }
  if (ACCUMULATE) { value += vec4f(c[at]); }
  return value;
}
