// correct_forward: y[r] = 1 where the label's logit is among the k largest of its row, else 0
//   logits (R, K) f32   labels (R) u32   y (R) f32
// One invocation per row: counts the logits that rank before the label's. Equal logits rank in order of class, as in a
//   stable sort. If the label's logit is NaN, the row is never correct.
// Any R, any K.
// Tuned: nothing.
import package::lib::finite::{finite};
requires immediate_address_space;

override WG: u32 = 64u;

struct Params { R: u32, K: u32, k: u32 }

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = group.x * WG + local;
  if (row >= p.R) { return; }
  let base = row * p.K;
  let label = labels[row];
  let mine = logits[base + label];
  var before = 0u;
  for (var c = 0u; c < p.K; c++) {
    let other = logits[base + c];
    if (other > mine || (other == mine && c < label)) { before++; }
  }
  y[row] = select(0.0, 1.0, before < p.k && finite(mine));
}
