/** The two halves of a training step, and the place between them where gradients of other devices are added. */
import { expect, it } from 'vitest';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { setup, type Training } from '../src/training/setup.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
const dataset = images({ train: 40, test: 10 });
const plain: Partial<Settings> = {
  ...{ embedDim: 16, depth: 1, numHeads: 2, patchSize: 16, batchSize: 10, augment: 'none', clipGrad: 0.5 },
  ...{ emaDecay: 0.9 },
};

const trainingOf = (settings: Partial<Settings>): Promise<Training> =>
  setup(gpuOf(), resolveSettings(plain, settings), dataset);

const STEPS = [0, 1, 2];
const records = (step: number) => Uint32Array.from({ length: 20 }, (_, i) => (20 * step + 7 * i) % 40);

const valuesOf = ({ optimizer, ema }: Training, step: number) => {
  const lr = 1e-2;
  const t = step + 1;
  return { seed: 1, step, lr, ...optimizer.corrections(lr, t), emaDecay: ema?.decayAt(t) ?? 0 };
};

async function resultOf(training: Training): Promise<Float32Array[]> {
  const { arena, ema } = training;
  const result = await Promise.all([arena.values, ema!.average].map((tensor) => tensor.toFloat32()));
  training.release();
  return result;
}

it.each<[string, Partial<Settings>]>([
  ['in one part', { batchSize: 20 }],
  ['in two parts', { gradAccumSteps: 2 }],
  [
    'with dropout, augmentation and mixing',
    { gradAccumSteps: 2, dropout: 0.1, augment: 'flip-crop', mixup: 0.5 },
  ],
])('one after the other are the whole step, %s', async (_, settings) => {
  const [whole, halves] = [await trainingOf(settings), await trainingOf(settings)];
  for (const step of STEPS) {
    whole.step.run(records(step), valuesOf(whole, step));
    halves.step.gradients(records(step), valuesOf(halves, step));
    halves.step.update();
  }
  const metrics = STEPS.map((step) => ({ step, images: 20 }));
  expect(await halves.step.read(metrics)).toEqual(await whole.step.read(metrics));
  expect(await resultOf(halves)).toEqual(await resultOf(whole));
});

it('let two replicas train on half of each batch to the same bits as one', async () => {
  const whole = await trainingOf({ gradAccumSteps: 2 });
  const replicas = [await trainingOf({}), await trainingOf({})];
  for (const step of STEPS) {
    whole.step.run(records(step), valuesOf(whole, step));
    const gradients: Float32Array[] = [];
    for (const [i, replica] of replicas.entries()) {
      replica.step.gradients(records(step).slice(10 * i, 10 * (i + 1)), valuesOf(replica, step));
      gradients.push(await replica.arena.gradients.toFloat32());
    }
    const [a, b] = gradients as [Float32Array, Float32Array];
    for (const { arena, step: training } of replicas) {
      arena.gradients.upload(Float32Array.from(a, (value, i) => value / 2 + b[i]! / 2));
      training.update();
    }
  }
  const expected = await resultOf(whole);
  for (const replica of replicas) expect(await resultOf(replica)).toEqual(expected);
});
