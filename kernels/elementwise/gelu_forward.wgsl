// gelu_forward: y = x · Φ(x),   Φ(x) = (1 + erf(x/√2)) / 2;   TANH: Φ ≈ (1 + tanh(√(2/π)(x + 0.044715 x³))) / 2
//   x, y (n)   of f32 or f16
// One invocation per quad of four elements.
// Any n; whole quads are stored, so up to three padding elements behind the last one are written, too.
// Tuned: Element: the element type of the tensors.
import package::lib::gelu::{gelu, gelu_by_tanh};
requires immediate_address_space;

alias Element = f32; // tune

override WG: u32 = 256u;
override TANH: bool = false;

struct Params { quads: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<Element>>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  let v = vec4f(x[i]);
  if (TANH) { y[i] = vec4<Element>(gelu_by_tanh(v)); } else { y[i] = vec4<Element>(gelu(v)); }
}
