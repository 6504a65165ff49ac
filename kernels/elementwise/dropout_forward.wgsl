// dropout_forward: y[i] (+)= x[i] · keep[i / group] / (1 − rate),   keep = 1 where unit(hash) ≥ rate, else 0
//   x, y (n), of f32 or f16   key (2): seed, step, u32.   unit(h): the top 24 bits as a fraction of 1
// One invocation per quad of four elements. group = 1 drops single elements (dropout); group = the elements
//   of a sample drops whole samples (drop path). Draw e is word e mod 4 of hash(seed, stream, step, e / 4).
//   The same kernel is the backward pass: the mask depends on the key alone.
// Any n; whole quads are stored, so up to three padding elements behind the last one are written, too.
// Tuned: Element: the element type of the tensors.
import package::lib::random::{kept, pcg4d};
requires immediate_address_space;

alias Element = f32; // tune

override WG: u32 = 256u;
override ACCUMULATE: bool = false;

struct Params { quads: u32, group: u32, stream: u32, rate: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4<Element>>;
@group(0) @binding(1) var<storage, read> key: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<Element>>;
var<immediate> p: Params;

fn kept_of(element: u32) -> f32 {
  let draw = element / p.group;
  return kept(pcg4d(vec4u(key[0], p.stream, key[1], draw / 4u)), p.rate)[draw % 4u];
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads) { return; }
  var mask: vec4f;
  if (p.group == 1u) {
    mask = kept(pcg4d(vec4u(key[0], p.stream, key[1], i)), p.rate);
  } else if (p.group % 4u == 0u) {
    mask = vec4f(kept_of(4u * i));
  } else {
    mask = vec4f(kept_of(4u * i), kept_of(4u * i + 1u), kept_of(4u * i + 2u), kept_of(4u * i + 3u));
  }
  var value = vec4f(x[i]) * mask;
  if (ACCUMULATE) { value += vec4f(y[i]); }
  y[i] = vec4<Element>(value);
}
