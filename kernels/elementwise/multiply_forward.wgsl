// multiply_forward: y[i] (+)= a[i] · b[i mod period],   a, y (n)   b (period)   all f32
// One invocation per quad of four elements. A period that is a multiple of four is read in quads, any other in single elements.
// Any n and period; whole quads are stored, so up to three padding elements behind the last one are written, too.
// Tuned: nothing.
import package::elementwise::periodic::{repeated};
requires immediate_address_space;

override WG: u32 = 256u;
override ACCUMULATE: bool = false;

struct Params { quads: u32, period: u32 }

@group(0) @binding(0) var<storage, read> a: array<vec4f>;
@group(0) @binding(1) var<storage, read> b: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  var value = a[i] * repeated(i);
  if (ACCUMULATE) { value += y[i]; }
  y[i] = value;
}
