// loss_scale_step: dynamic loss scaling, state = (scale, good, skipped, streak, c1, c2)
//   A finite gradient: good ← good + 1, and at `interval` scale ← 2 scale, good ← 0; streak ← 0; c ← β c + (1 − β), which is
//     1 − β^t after t such steps. Else: scale ← scale / 2, good ← 0, skipped ← skipped + 1, streak ← streak + 1.
//   In either case step[5] ← lr / c1 and step[6] ← √c2: the bias corrections count only steps that were not skipped.
//   state (6)   clip (2): norm, coefficient; 0 says that the gradient is not finite   step: see STEP in src/ops/step_state.ts
// One invocation. As torch.amp.GradScaler with an optimizer that does not count skipped steps (Micikevicius et al., 2018).
// Tuned: nothing.
requires immediate_address_space;

// rest1 = 1 − β1, rest2 = 1 − β2, computed in float64.
struct Params { interval: f32, beta1: f32, rest1: f32, beta2: f32, rest2: f32 }

@group(0) @binding(0) var<storage, read> clip: array<f32>;
@group(0) @binding(1) var<storage, read_write> state: array<f32>;
@group(0) @binding(2) var<storage, read_write> step: array<f32>;
var<immediate> p: Params;

@compute @workgroup_size(1)
fn main() {
  if (clip[1] == 0.0) {
    state[0] *= 0.5;
    state[1] = 0.0;
    state[2] += 1.0;
    state[3] += 1.0;
  } else {
    state[1] += 1.0;
    if (state[1] >= p.interval) {
      state[0] *= 2.0;
      state[1] = 0.0;
    }
    state[3] = 0.0;
    state[4] = p.beta1 * state[4] + p.rest1;
    state[5] = p.beta2 * state[5] + p.rest2;
  }
  step[5] = step[4] / state[4];
  step[6] = sqrt(state[5]);
}
