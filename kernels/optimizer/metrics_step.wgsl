// metrics_step: metrics[slot] = (loss, correct, gradient norm, min first) as bits,   slot = step[2]
//   loss (1)   correct (1)   clip (2): norm, coefficient   first (count) u32: see non_finite_reduce
//   metrics (slots, 4) u32   step: see STEP in src/ops/step_state.ts   all else f32
// One invocation. `metrics` is a ring that the host reads every few steps, so that no step waits for the host. The minimum of
//   `first` is computed only if the coefficient is 0, which stands for a norm that is not finite.
// Any number of slots.
// Tuned: nothing.
requires immediate_address_space;

struct Params { count: u32 }

@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read> correct: array<f32>;
@group(0) @binding(2) var<storage, read> clip: array<f32>;
@group(0) @binding(3) var<storage, read> first: array<u32>;
@group(0) @binding(4) var<storage, read> step: array<u32>;
@group(0) @binding(5) var<storage, read_write> metrics: array<vec4u>;
var<immediate> p: Params;

@compute @workgroup_size(1)
fn main() {
  var lowest = 0xffffffffu;
  if (clip[1] == 0.0) {
    for (var i = 0u; i < p.count; i++) { lowest = min(lowest, first[i]); }
  }
  metrics[step[2]] = vec4u(bitcast<u32>(loss[0]), bitcast<u32>(correct[0]), bitcast<u32>(clip[0]), lowest);
}
