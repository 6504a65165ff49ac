// gelu_forward: y = x · Φ(x),   Φ(x) = (1 + erf(x/√2)) / 2;   TANH: Φ ≈ (1 + tanh(√(2/π)(x + 0.044715 x³))) / 2
//   x, y (n)   of f32 or f16
// One invocation per quad of four elements.
// Any n; the elements that fill the last quad up are written too, into storage that is there for them.
// Tuned: Element: what tensors hold.
requires immediate_address_space;

alias Element = f32; // tune

override WG: u32 = 256u;
override TANH: bool = false;

struct Params { quads: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Element>>;
var<immediate> p: Params;

// erf by Abramowitz and Stegun 7.1.26 would lose digits; this is erf(x) = 1 − erfc(x) with a rational
// approximation of Chebyshev type, relative error of erfc below 1.2e-7 (Press et al., Numerical Recipes, 6.2).
fn erf(x: vec4f) -> vec4f {
  let z = abs(x);
  let t = 1.0 / (1.0 + 0.5 * z);
  let poly = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  let tail = t * exp(-z * z + poly);
  return sign(x) * (1.0 - tail);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  let v = vec4f(x[i]);
  if (TANH) {
    // tanh of a large argument may overflow to NaN in some drivers; it is ±1 there.
    let u = clamp(0.7978845608 * (v + 0.044715 * v * v * v), vec4f(-15.0), vec4f(15.0));
    y[i] = vec4<Element>(0.5 * v * (1.0 + tanh(u)));
  } else {
    y[i] = vec4<Element>(0.5 * v * (1.0 + erf(v * 0.70710678118)));
  }
}
