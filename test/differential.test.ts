/**
 * Kernels against PyTorch and timm at fifty random settings each: the moving average, gradient accumulation, clipping,
 * label smoothing, mixed targets, drop path. Few kernel shapes, many sizes.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.js';
import { uploadSplit } from '../src/data/store.js';
import { VisionTransformer } from '../src/models/vit.js';
import { zeros } from '../src/nn/init.js';
import { mixTargets } from '../src/ops/augment.js';
import { encodeHeader, NO_BOX } from '../src/ops/batch_plan.js';
import { crossEntropy, dropPath } from '../src/ops/index.js';
import { clipNorm } from '../src/ops/optimizer.js';
import { keyOf, makeStepState, writeStepState } from '../src/ops/step_state.js';
import { AdamW } from '../src/optim/adamw.js';
import { Ema } from '../src/optim/ema.js';
import { trainingInput } from '../src/recipe/augmentation.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { Arena } from '../src/tensor/arena.js';
import { Parameter } from '../src/tensor/parameter.js';
import { owned } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { TrainingStep } from '../src/training/step.js';
import { answers, cases, drawing, labelsOf, numbered, uniform } from './differential.js';
import { withGpu, worst } from './gpu.js';

const gpuOf = withGpu();
const STILL = { seed: 0, step: 0, slot: 0, lr: 0, stepSize: 0, rootC2: 1, emaDecay: 0 };

/** Every |difference| is at most `atol` + `rtol` · |expected|. */
function near(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  atol: number,
  rtol = 0,
): void {
  expect(actual.length, what).toBe(expected.length);
  const { ratio, at } = worst(actual, expected, (i) => atol + rtol * Math.abs(expected[i]!));
  expect(ratio, `${what} at ${at}: ${actual[at]} for ${expected[at]}`).toBeLessThanOrEqual(1);
}

function arenaOf(sizes: Record<string, number>): Arena {
  const parameters = Object.entries(sizes).map(([name, size]) => {
    const parameter = new Parameter([size], zeros);
    parameter.name = name;
    return parameter;
  });
  return new Arena(gpuOf(), parameters, () => true);
}

describe('the moving average', () => {
  const [WIDTH, UPDATES] = [12, 5];
  const expected = answers('ema', Array(cases.ema.length).fill(WIDTH));

  it.each(numbered(cases.ema))('$i: decay $setting.decay', async ({ i, setting }) => {
    const weights = uniform('ema', i, (UPDATES + 1) * WIDTH, 2);
    const row = (t: number) => weights.slice(t * WIDTH, (t + 1) * WIDTH);
    const arena = arenaOf({ w: WIDTH });
    const state = makeStepState(gpuOf());
    arena.write(arena.values, () => row(0));
    const ema = new Ema(arena, setting.decay);
    for (let t = 1; t <= UPDATES; t++) {
      arena.write(arena.values, () => row(t));
      writeStepState(state, { ...STILL, emaDecay: ema.decayAt(t) });
      ema.step(state);
    }
    near('average', (await arena.read(ema.average)).get('w')!, expected[i]!, 5e-7);
  });
});

describe('a batch in parts', () => {
  const CLASSES = ['a', 'b', 'c'];
  const dataset = { channels: 1, height: 4, width: 4, classes: CLASSES, mean: [0.5], std: [0.25] };
  const model = new VisionTransformer({
    ...{ imageSize: 4, patchSize: 2, channels: 1, classes: CLASSES.length },
    ...{ embedDim: 4, depth: 1, numHeads: 2, mlpRatio: 2, pool: 'cls' },
  });
  const names = model
    .parameters()
    .map(({ name }) => name)
    .sort();
  const expected = answers('accumulation', Array(cases.accumulation.length).fill(model.numParams()));
  const RECORDS = 24;

  function prepare() {
    const gpu = gpuOf();
    const draw = drawing('accumulation', 0);
    const images = Uint8Array.from({ length: RECORDS * 16 }, () => draw.below(256));
    const labels = Uint8Array.from({ length: RECORDS }, () => draw.below(CLASSES.length));
    const store = uploadSplit(gpu, dataset, { images, labels, count: RECORDS }, 'cifar');
    const arena = new Arena(gpu, model.parameters(), () => true);
    arena.write(arena.values, ({ name, size }) => {
      const values = drawing('accumulation', names.indexOf(name), 2);
      return Float32Array.from({ length: size }, () => values.uniform() - 0.5);
    });
    const input = trainingInput(resolveSettings({ augment: 'none' }), dataset, store, 1);
    return { arena, input, optimizer: new AdamW(arena) };
  }
  let parts: ReturnType<typeof prepare>;
  beforeAll(() => {
    parts = prepare();
  });

  it.each(numbered(cases.accumulation))(
    '$i: $setting.records.length images, $setting.part at a time',
    async ({ i, setting }) => {
      const { arena, input, optimizer } = parts;
      const { part, smoothing, records } = setting;
      const { made: training, release } = owned(
        () =>
          new TrainingStep({
            ...{ model, arena, input, optimizer, ema: null, lossScale: null, clipGrad: 0, logInterval: 1 },
            ...{ labelSmoothing: smoothing, microBatch: part, accumulate: Math.ceil(records.length / part) },
          }),
      );
      // A learning rate of zero leaves the weights as they are.
      training.run(Uint32Array.from(records), STILL);
      const [metrics] = await training.read([{ step: 0, images: records.length }]);
      near('loss', [metrics!.loss], [setting.loss], 1e-6);
      expect(metrics!.correct).toBe(setting.right);
      const gradients = await arena.read(arena.gradients);
      const found = names.flatMap((name) => [...gradients.get(name)!]);
      near('gradients', found, expected[i]!, 1e-6, 1e-5);
      training.release();
      release();
    },
  );
});

it.each(numbered(cases.clip))('clipping $i: to $setting.bound', async ({ i, setting }) => {
  const { sizes, scale, bound, norm, coefficient } = setting;
  // The first ten have the norm 5 · scale.
  const given =
    i < 10 ? Float32Array.of(3 * scale, 4 * scale) : uniform('clip', i, sizes[0] + sizes[1], scale);
  const arena = arenaOf({ a: sizes[0], b: sizes[1] });
  arena.write(arena.gradients, ({ name }) =>
    name === 'a' ? given.slice(0, sizes[0]) : given.slice(sizes[0]),
  );
  const clip = Tensor.zeros(gpuOf(), [2]);
  clipNorm(arena.gradients, clip, bound);
  // Four float32 roundings. PyTorch adds 1e-6 to the norm, which makes a larger difference if a norm below 4 is clipped.
  near('norm and coefficient', await clip.toFloat32(), [norm, coefficient], 0, 2.5e-7);
});

/** The mean loss, and the gradient of the logits. */
async function differentiate(logits: Tensor, target: Tensor, smoothing: number) {
  logits.requiresGrad = true;
  logits.grad = Tensor.zeros(logits.gpu, logits.shape);
  const tape = new Tape();
  const loss = tape.run(() => crossEntropy(logits, target, smoothing));
  tape.backward(loss);
  return { loss: await loss.toFloat32(), gradient: await logits.grad.toFloat32() };
}

describe('label smoothing', () => {
  const twice = cases.smoothing.flatMap(({ rows, classes }) => Array(2).fill(rows * classes));
  const expected = answers('smoothing', twice);

  it.each(numbered(cases.smoothing))(
    '$i: $setting.smoothing over $setting.classes classes, hard and soft targets',
    async ({ i, setting }) => {
      const { rows, classes, smoothing } = setting;
      // A soft target is made of eighths, each in a random class.
      const soft = new Float32Array(rows * classes);
      const place = drawing('smoothing', i, 3);
      for (let r = 0; r < rows; r++)
        for (let n = 0; n < 8; n++) soft[r * classes + place.below(classes)]! += 1 / 8;
      const targets = {
        hard: Tensor.from(gpuOf(), labelsOf('smoothing', i, rows, classes)),
        soft: Tensor.from(gpuOf(), soft, [rows, classes]),
      };
      for (const [at, kind] of (['hard', 'soft'] as const).entries()) {
        const logits = Tensor.from(gpuOf(), uniform('smoothing', i, rows * classes, 8), [rows, classes]);
        const { loss, gradient } = await differentiate(logits, targets[kind], smoothing);
        near(`loss of ${kind} targets`, loss, [setting[kind]], 1e-6, 1e-6);
        near(`gradient of ${kind} targets`, gradient, expected[2 * i + at]!, 2e-7, 2e-6);
      }
    },
  );
});

describe('mixed targets', () => {
  const expected = answers(
    'mixup',
    cases.mixup.map(({ rows, classes }) => rows * classes),
  );

  it.each(numbered(cases.mixup))(
    '$i: $setting.lam of $setting.rows images, smoothed by $setting.smoothing',
    async ({ i, setting }) => {
      const { rows, classes, lam, smoothing } = setting;
      const gpu = gpuOf();
      const mix = { share: lam, weight: lam, box: NO_BOX };
      const header = Tensor.from(gpu, encodeHeader({ seed: 0, step: 0, mix }));
      const targets = Tensor.zeros(gpu, [rows, classes]);
      const labels = Tensor.from(gpu, labelsOf('mixup', i, rows, classes));
      mixTargets(labels, header, targets, Tensor.zeros(gpu, [rows], 'u32'));
      const logits = Tensor.from(gpu, uniform('mixup', i, rows * classes, 4), [rows, classes]);
      const { loss, gradient } = await differentiate(logits, targets, smoothing);
      near('loss', loss, [setting.loss], 1e-6, 1e-6);
      near('gradient', gradient, expected[i]!, 2e-7, 2e-6);
    },
  );
});

describe('drop path', () => {
  const [SAMPLES, WIDTH] = [64, 12];

  it.each(numbered(cases.drop_path))('$i: rate $setting.rate', async ({ i, setting: { rate, scale } }) => {
    const gpu = gpuOf();
    const state = makeStepState(gpu);
    writeStepState(state, { ...STILL, seed: 11, step: i });
    const values = uniform('drop_path', i, SAMPLES * WIDTH);
    const x = Tensor.from(gpu, values, [SAMPLES, 3, WIDTH / 3]);
    const y = await dropPath(x, keyOf(state), rate, 2000).toFloat32();
    let kept = 0;
    for (let b = 0; b < SAMPLES; b++) {
      const [from, to] = [b * WIDTH, (b + 1) * WIDTH];
      const whole = y[from] !== 0;
      if (whole) kept++;
      // timm drops whole samples and multiplies the others by 1 / keep_prob.
      const expected = values.subarray(from, to).map((v) => (whole ? v * scale : 0));
      near(`sample ${b}`, y.subarray(from, to), expected, 1e-30, 3e-7);
    }
    // Within five standard deviations of the binomial distribution.
    expect(Math.abs(kept - SAMPLES * (1 - rate))).toBeLessThanOrEqual(
      5 * Math.sqrt(SAMPLES * rate * (1 - rate)),
    );
  });
});
