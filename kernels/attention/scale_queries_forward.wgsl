// scale_queries_forward: y = x, but the queries of head h times root · temperature[h]
//   x, y (rows, 3, H, HEAD)   of f32 or f16   temperature (H)   f32   root = √HEAD, with which attention divides scores again
// One workgroup per row. The backward pass of x is the same: dy in place of x.
// H · HEAD below 2²³ (lib/quotient.wgsl).
// Tuned: Element: the element type of x and y.
import package::lib::quotient::{quotient};
requires immediate_address_space;

alias Element = f32; // tune

override WG: u32 = 64u;
override ACCUMULATE: bool = false;

struct Params { rows: u32, width: u32, head: u32, root: f32 }

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> temperature: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.y * groups.x + group.x;
  if (row >= p.rows) { return; }
  for (var c = local; c < 3u * p.width; c += WG) {
    let i = row * 3u * p.width + c;
    var value = f32(x[i]);
    if (c < p.width) { value *= p.root * temperature[quotient(c, p.head)]; }
    if (ACCUMULATE) { value += f32(y[i]); }
    y[i] = Element(value);
  }
}
