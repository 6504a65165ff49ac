/** The memory of training steps, predicted by a dry run: equal to what they take, and refused where it is too much. */
import { afterEach, describe, expect, it } from 'vitest';
import { OutOfMemoryError } from '../src/core/errors.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { demandStepMemory, largestBatchSize, stepMemory } from '../src/training/forecast.js';
import { setup } from '../src/training/setup.js';
import { openGpu } from './gpu.js';
import { images } from './images.js';

const dataset = images({ train: 72, test: 20 });
const small: Partial<Settings> = { embedDim: 24, depth: 3, numHeads: 3, patchSize: 4, batchSize: 32 };

const open: Gpu[] = [];
afterEach(() => {
  for (const gpu of open.splice(0)) gpu.close();
});
async function newGpu(budgetBytes = Number.POSITIVE_INFINITY): Promise<Gpu> {
  const gpu = await openGpu({ budgetBytes });
  open.push(gpu);
  return gpu;
}

/** Trains an epoch and returns the most memory that the device held. */
async function measured(gpu: Gpu, settings: Settings): Promise<number> {
  const { sampler, step, optimizer } = await setup(gpu, settings, dataset);
  for (let i = 0; i < sampler.batches; i++)
    step.run(sampler.batch(0, i), {
      ...{ seed: 1, step: i, lr: 1e-3, emaDecay: 0.5 },
      ...optimizer.corrections(1e-3, i + 1),
    });
  await gpu.finish();
  return gpu.memory.peakBytes;
}

describe('the predicted memory is that of an epoch of steps', () => {
  it.each<[string, Partial<Settings>]>([
    ['with a smaller last batch', {}],
    ['of whole batches', { batchSize: 24 }],
    ['of a batch that holds all images', { batchSize: 100 }],
    ['with checkpoints, dropout and drop path', { gradCheckpointing: true, dropout: 0.1, dropPath: 0.1 }],
    ['with Muon and an average', { optimizer: 'muon', emaDecay: 0.9 }],
    [
      'with accumulated gradients, augmentation and mixing',
      { gradAccumSteps: 2, augment: 'rand', mixup: 0.8 },
    ],
    ['in mixed precision', { amp: true }],
    ['of a wider model', { embedDim: 96, depth: 2, patchSize: 8, qkNorm: true, layerScale: 0.1 }],
  ])('%s', async (_, more) => {
    const gpu = await newGpu();
    const settings = resolveSettings({ ...small, ...more });
    const used = gpu.memory.usedBytes;
    const { bytes, images: count } = await stepMemory(gpu, settings, dataset);
    expect(count).toBe(72);
    expect(gpu.memory.usedBytes).toBe(used); // a dry run takes no memory of the device
    expect(bytes).toBe(await measured(gpu, settings));
  });
});

describe('a budget', () => {
  const settings = resolveSettings(small);

  it.each([1, 0.97, 0.7, 0.3])(
    'of %f of the prediction is enough for the dry run where it is for the steps',
    async (share) => {
      const { bytes } = await stepMemory(await newGpu(), settings, dataset);
      const gpu = await newGpu(Math.floor(share * bytes));
      const outcome = (run: Promise<unknown>) =>
        run.then(
          () => 'enough',
          (error) => (error instanceof OutOfMemoryError ? 'too little' : error),
        );
      const dry = await outcome(demandStepMemory(gpu, settings, dataset));
      if (share === 1 || share < 0.5) expect(dry).toBe(share === 1 ? 'enough' : 'too little');
      expect(await outcome(measured(gpu, settings))).toBe(dry);
    },
  );

  it('that is too small is refused with what would fit', async () => {
    const of = (more: Partial<Settings>) =>
      newGpu().then((gpu) => stepMemory(gpu, { ...settings, ...more }, dataset));
    const [eight, checkpointed] = [await of({ batchSize: 8 }), await of({ gradCheckpointing: true })];
    const refusal = async (budget: number, more: Partial<Settings> = {}) =>
      demandStepMemory(await newGpu(budget), { ...settings, ...more }, dataset);
    const larger = 'a larger --memory-budget\\.$';
    await expect(refusal(eight.bytes)).rejects.toThrow(
      new RegExp(
        `^Training with a batch size of 32 needs [\\d.]+ MB of device memory; .* Use --batch-size 8 or ${larger}`,
      ),
    );
    await expect(refusal(checkpointed.bytes)).rejects.toThrow(
      new RegExp(`Use --batch-size \\d+ or --grad-checkpointing or ${larger}`),
    );
    await expect(refusal(1e6)).rejects.toThrow(new RegExp(`budget is 1\\.0 MB\\. Use ${larger}`));
  });

  it('allows the largest power of two', async () => {
    const size = async (budget: number) => largestBatchSize(await newGpu(budget), settings, dataset);
    const { bytes } = await stepMemory(await newGpu(), resolveSettings({ ...small, batchSize: 16 }), dataset);
    expect(await size(bytes)).toBe(16);
    expect(await size(bytes - 1)).toBe(8);
    expect(await size(1e6)).toBe(0);
    expect(await size(1e12)).toBe(128); // the first that holds all 72 images
  });
});
