// metrics_step: metrics[slot] = (loss, correct, gradient norm, clip coefficient),   slot = step[2]
//   loss (1)   correct (1)   clip (2)   metrics (slots, 4)   step: see STEP in src/ops/step_state.ts   all f32
// One invocation. A ring that the host reads every so many steps: a step itself waits for nothing.
// Any number of slots.
// Tuned: nothing.
requires immediate_address_space;

@group(0) @binding(0) var<storage, read> loss: array<f32>;
@group(0) @binding(1) var<storage, read> correct: array<f32>;
@group(0) @binding(2) var<storage, read> clip: array<f32>;
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read_write> metrics: array<vec4f>;

@compute @workgroup_size(1)
fn main() {
  metrics[step[2]] = vec4f(loss[0], correct[0], clip[0], clip[1]);
}
