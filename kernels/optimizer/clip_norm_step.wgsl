// clip_norm_step: norm = √Σ partial;  coefficient = min(1, max_norm / (norm + 1e-6));  clip = (norm, coefficient)
//   SCALED: the gradient has been multiplied by s = scale[0], so norm and coefficient are divided by s.
//   partial (count): sums of squares of the gradient   scale (at least 1)   clip (2)   all f32
// One invocation: count is a small multiple of 32. As torch.nn.utils.clip_grad_norm_; max_norm 0 disables clipping.
// A norm that is not finite gives the coefficient 0, and stays in `clip` for the host.
// Tuned: nothing.
import package::lib::finite::{finite};
requires immediate_address_space;

override SCALED: bool = false;

struct Params { count: u32, max_norm: f32 }

@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read> scale: array<f32>; // if SCALED
@group(0) @binding(2) var<storage, read_write> clip: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(1)
fn main() {
  var total = 0.0;
  for (var i = 0u; i < p.count; i++) { total += partial[i]; }
  var unscale = 1.0;
  if (SCALED) { unscale = 1.0 / scale[0]; }
  let norm = sqrt(total) * unscale;
  var coefficient = 1.0;
  if (p.max_norm > 0.0) { coefficient = min(1.0, p.max_norm / (norm + 1e-6)); }
  coefficient *= unscale;
  if (!finite(total)) { coefficient = 0.0; }
  clip[0] = norm;
  clip[1] = coefficient;
}
