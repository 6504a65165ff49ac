// gelu_backward: dx (+)= dy · (Φ(x) + x φ(x)),   φ(x) = exp(−x²/2) / √(2π);   TANH: the derivative of that formula
//   x, dy, dx (n)   of f32 or f16
// One invocation per quad of four elements.
// Any n; whole quads are stored, so up to three padding elements behind the last one are written, too.
// Tuned: Element: the element type of the tensors.
import package::lib::gelu::{gelu_slope, gelu_slope_by_tanh};
requires immediate_address_space;

alias Element = f32; // tune

override WG: u32 = 256u;
override TANH: bool = false;
override ACCUMULATE: bool = false;

struct Params { quads: u32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<Element>>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<Element>>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  let v = vec4f(x[i]);
  var slope: vec4f;
  if (TANH) { slope = gelu_slope_by_tanh(v); } else { slope = gelu_slope(v); }
  var value = vec4f(dy[i]) * slope;
  if (ACCUMULATE) { value += vec4f(dx[i]); }
  dx[i] = vec4<Element>(value);
}
