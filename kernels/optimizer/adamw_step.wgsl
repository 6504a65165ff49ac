// adamw_step: p ← p − lr·wd·p;  m ← β1 m + (1−β1) g;  v ← β2 v + (1−β2) g²;  p ← p − lr/c1 · m / (√v/√c2 + eps)
//   SCALED: lr is multiplied by `scale`, a factor for each parameter.
//   g is the gradient times the clipping coefficient;  c1 = 1 − β1^t, c2 = 1 − β2^t;  wd only in the first `decayed` quads
//   parameter, gradient, m, v, scale (n)   clip (2): norm, coefficient   step: see STEP in src/ops/step_state.ts   all f32
// One invocation per quad of four elements of the flat arena (or of the part of it that is bound).
// The coefficient 0 stands for a gradient that is not finite, and leaves everything as it was.
// n a multiple of four: the arena pads every tensor.   As torch.optim.AdamW (Loshchilov and Hutter, 2019), with one exception:
// with eps 0, the last quotient is 0 where √v is 0. PyTorch divides 0 by 0 there, and the arena's padding and every
// parameter without a gradient so far would become NaN. With eps > 0 no divisor is 0.
// Tuned: nothing.
requires immediate_address_space;

override WG: u32 = 256u;
override SCALED: bool = false;
// rest1 = 1 − β1, rest2 = 1 − β2, computed in float64: 1 − f32(0.999) is 0.001 to only five digits.
struct Params { quads: u32, decayed: u32, beta1: f32, rest1: f32, beta2: f32, rest2: f32, eps: f32, weight_decay: f32 }

@group(0) @binding(0) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(1) var<storage, read> clip: array<f32>;
@group(0) @binding(2) var<storage, read> step: array<f32>;
@group(0) @binding(3) var<storage, read_write> parameter: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(6) var<storage, read> scale: array<vec4f>; // if SCALED
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = (group.y * groups.x + group.x) * WG + local;
  if (i >= p.quads || clip[1] == 0.0) { return; }
  var lr = vec4f(step[4]);
  var step_size = vec4f(step[5]); // lr / c1
  if (SCALED) {
    lr *= scale[i];
    step_size *= scale[i];
  }
  let root_c2 = step[6]; // √c2
  let g = gradient[i] * clip[1];
  let first = p.beta1 * m[i] + p.rest1 * g;
  let second = p.beta2 * v[i] + p.rest2 * g * g;
  let decay = select(vec4f(0.0), lr * p.weight_decay, i < p.decayed);
  let old = parameter[i];
  m[i] = first;
  v[i] = second;
  let divisor = sqrt(second) / root_c2 + p.eps;
  let update = select(step_size * first / divisor, vec4f(0.0), divisor == vec4f(0.0));
  parameter[i] = old - decay * old - update;
}
