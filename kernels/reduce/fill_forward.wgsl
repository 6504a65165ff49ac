// fill_forward: y[i] = factor · x[0],   x (1)   y (n)   all f32
// One invocation per quad of four elements. It is the gradient of a sum, which is the same for every element.
// Any n; whole quads are stored, so up to three padding elements behind the last one are written, too.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
override ACCUMULATE: bool = false;

struct Params { quads: u32, factor: f32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  var value = vec4f(p.factor * x[0]);
  if (ACCUMULATE) { value += y[i]; }
  y[i] = value;
}
