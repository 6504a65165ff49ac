// scale_queries_backward: products[r, h] = root · Σ_d x[r, 0, h, d] · dy[r, 0, h, d], whose sum over rows is the gradient of
//   the temperature of head h   x, dy (rows, 3, H, HEAD)   of f32 or f16   products (rows, H)   f32   root = √HEAD
// One invocation per row and head.
// Any rows, H and HEAD.
// Tuned: Element: the element type of x and dy.
requires immediate_address_space;

alias Element = f32; // tune

override WG: u32 = 64u;

struct Params { rows: u32, H: u32, head: u32, root: f32 }

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> dy: array<Element>;
@group(0) @binding(2) var<storage, read_write> products: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.rows * p.H) { return; }
  let base = (i / p.H * 3u * p.H + i % p.H) * p.head;
  var sum = 0.0;
  for (var d = 0u; d < p.head; d++) { sum += f32(x[base + d]) * f32(dy[base + d]); }
  products[i] = p.root * sum;
}
