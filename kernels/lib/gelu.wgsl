// gelu: x · Φ(x) and its derivative Φ(x) + x φ(x), exact (by erf) and by the formula with tanh

// erf(x) = 1 − erfc(x), with a rational approximation of Chebyshev type whose relative error of erfc is below 1.2e-7;
// Abramowitz and Stegun 7.1.26 is less accurate (Press et al., Numerical Recipes, 6.2).
fn erf(x: vec4f) -> vec4f {
  let z = abs(x);
  let t = 1.0 / (1.0 + 0.5 * z);
  let poly = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  return sign(x) * (1.0 - t * exp(-z * z + poly));
}

fn gelu(x: vec4f) -> vec4f { return 0.5 * x * (1.0 + erf(x * 0.70710678118)); }

fn gelu_slope(x: vec4f) -> vec4f {
  return 0.5 * (1.0 + erf(x * 0.70710678118)) + x * 0.3989422804 * exp(-0.5 * x * x);
}

// tanh(√(2/π)(x + 0.044715 x³)). Some drivers' tanh of a large argument overflows to NaN; there the value is ±1.
fn gelu_tanh(x: vec4f) -> vec4f {
  return tanh(clamp(0.7978845608 * (x + 0.044715 * x * x * x), vec4f(-15.0), vec4f(15.0)));
}

fn gelu_by_tanh(x: vec4f) -> vec4f { return 0.5 * x * (1.0 + gelu_tanh(x)); }

fn gelu_slope_by_tanh(x: vec4f) -> vec4f {
  let t = gelu_tanh(x);
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * 0.7978845608 * (1.0 + 3.0 * 0.044715 * x * x);
}
