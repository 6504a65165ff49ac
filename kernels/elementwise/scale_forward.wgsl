// scale_forward: y[i] (+)= factor · x[i],   x, y (n)   of f32 or f16
// One invocation per quad of four elements. With factor 1 it is a copy or a cast and, with ACCUMULATE, addition in place.
// Any n; whole quads are stored, so up to three padding elements behind the last one are written, too.
// Tuned: Element…: the element types of the tensors.
requires immediate_address_space;

alias ElementX = f32; // tune
alias ElementY = f32; // tune

override WG: u32 = 256u;
override ACCUMULATE: bool = false;

struct Params { quads: u32, factor: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<ElementX>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<ElementY>>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  var value = p.factor * vec4f(x[i]);
  if (ACCUMULATE) { value += vec4f(y[i]); }
  y[i] = vec4<ElementY>(value);
}
