// sum_reduce: y[t] (+)= scale · Σ_i f(x[i]) over the quads i ≡ t modulo T,   x (n)   y (T)   all f32
//   f(v) = v, or v² with SQUARE. T, the parameter `threads`, is the number of invocations that have work.
// One invocation per partial sum, in a fixed order; run again on its own result until one number is left.
// Any n: the padding in the last quad is not added.
// Tuned: nothing.
import package::lib::quad_sum::{quad_sum};
requires immediate_address_space;

override WG: u32 = 64u;
override SQUARE: bool = false;
override ACCUMULATE: bool = false;

struct Params { n: u32, threads: u32, scale: f32 }

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.threads) { return; }
  let whole = p.n / 4u;
  var sum = vec4f(0.0);
  for (var at = i; at < whole; at += p.threads) {
    let v = x[at];
    sum += select(v, v * v, SQUARE);
  }
  if (p.n % 4u != 0u && whole % p.threads == i) {
    let v = select(vec4f(0.0), x[whole], vec4u(0u, 1u, 2u, 3u) < vec4u(p.n % 4u));
    sum += select(v, v * v, SQUARE);
  }
  var value = p.scale * quad_sum(sum);
  if (ACCUMULATE) { value += y[i]; }
  y[i] = value;
}
