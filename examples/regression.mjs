// A regression on the tape: a network with one hidden layer learns sin(x) on [-3, 3], by AdamW.
import {
  AdamW,
  Arena,
  add,
  Gpu,
  gelu,
  Linear,
  Module,
  matmul,
  scale,
  schemes,
  scope,
  Tape,
  Tensor,
  Updates,
} from 'patchlight';

const POINTS = 256;
const STEPS = 600;

/** x (n, 1) -> y (n, 1). Fields name the parameters: `hidden.weight`, `out.bias` and so on. */
class Curve extends Module {
  hidden = new Linear(1, 32, schemes.pytorch);
  out = new Linear(32, 1, schemes.pytorch);

  /** @param {Tensor} x */
  forward(x) {
    return this.out.forward(gelu(this.hidden.forward(x)));
  }
}

const gpu = await Gpu.open();
const xs = Float32Array.from({ length: POINTS }, (_, i) => (6 * i) / (POINTS - 1) - 3);
const x = Tensor.from(gpu, xs, [POINTS, 1]);
const minusY = Tensor.from(
  gpu,
  xs.map((v) => -Math.sin(v)),
  [POINTS, 1],
);

// An arena puts all parameters into one tensor and their gradients into another, so an optimizer is one dispatch.
const model = new Curve();
const arena = new Arena(gpu, model.parameters(), () => false); // no weight decay
arena.initialise(model.parameters(), 1); // from seed 1
const updates = new Updates(arena, new AdamW(arena));

/** Mean squared error: the product of the errors with themselves, (1, n) · (n, 1), over n. */
function loss() {
  const errors = add(model.forward(x), minusY);
  return scale(matmul(errors, errors, { transA: true }), 1 / POINTS);
}

// Steps are recorded once and played from then on: playing builds no graph and makes no buffer.
const { result: error, recording } = gpu.record(() =>
  scope(() => {
    const tape = new Tape();
    const value = tape.run(loss);
    tape.backward(value);
    return value;
  }),
);
for (let step = 1; step <= STEPS; step++) {
  updates.update(0.05 * (1 - (step - 1) / STEPS)); // with the gradients of the step that ran last
  gpu.play(recording);
  if (step % 200 === 0)
    console.log(`step ${step}  mean squared error ${(await error.toFloat32())[0]?.toExponential(2)}`);
}
gpu.close();
