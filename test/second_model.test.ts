/** A second model, made and trained from outside of the library: no line of src knows of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { count } from '../src/core/setting.js';
import { uploadSplit } from '../src/data/store.js';
import { Model, type ModelImages } from '../src/models/model.js';
import { registerModel } from '../src/models/registry.js';
import { schemes } from '../src/nn/init.js';
import { LayerNorm, Linear } from '../src/nn/layers.js';
import { partsOf } from '../src/nn/module.js';
import { PatchEmbed } from '../src/nn/patch_embed.js';
import { add, gelu, meanTokens } from '../src/ops/index.js';
import { buildModel } from '../src/recipe/model.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { imagesOf, loadWeights, readRun } from '../src/runs/saved_run.js';
import { Trainer } from '../src/runs/trainer.js';
import type { Tensor } from '../src/tensor/tensor.js';
import { evaluate } from '../src/training/evaluate.js';
import { fit } from '../src/training/fit.js';
import type { EpochEntry } from '../src/training/progress.js';
import { setup } from '../src/training/setup.js';
import { scratch } from './faults/common.js';
import { results, trainerInput } from './faults/run.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

/** Patches, a residual MLP on each, their mean, a linear classifier: a network without attention and convolution. */
class PatchMlp extends Model {
  readonly patchEmbed: PatchEmbed;
  readonly norm: LayerNorm;
  readonly fc1: Linear;
  readonly fc2: Linear;
  readonly head: Linear;
  readonly label: string;

  constructor(
    readonly config: { readonly width: number; readonly patch: number },
    readonly images: ModelImages,
  ) {
    super();
    const { width, patch } = config;
    const geometry = { patch: [patch, patch], stride: [patch, patch], padding: [0, 0] } as const;
    this.patchEmbed = new PatchEmbed(images.channels, width, geometry);
    this.norm = new LayerNorm(width, 1e-6);
    this.fc1 = new Linear(width, 2 * width, schemes.timm, 1);
    this.fc2 = new Linear(2 * width, width, schemes.timm, 1);
    this.head = new Linear(width, images.classes, schemes.timm);
    this.label = `patch-mlp ${width}`;
    this.parameters();
  }

  forward(x: Tensor): Tensor {
    const tokens = this.patchEmbed.forward(x);
    const mixed = add(tokens, this.fc2.forward(gelu(this.fc1.forward(this.norm.forward(tokens)))));
    return this.head.forward(meanTokens(mixed));
  }

  flops(): number {
    const { width, patch } = this.config;
    const patches = (this.images.height / patch) * (this.images.width / patch);
    return (
      2 * patches * width * (this.images.channels * patch ** 2 + 4 * width) + 2 * width * this.images.classes
    );
  }

  describe(): string {
    return `An MLP of width ${this.config.width} on patches of ${this.config.patch}`;
  }

  classifier() {
    return partsOf(this.head);
  }

  protected rows() {
    return [{ name: 'all', shape: '(B, classes)', parameters: this.parameters() }];
  }
}

registerModel('patch-mlp', {
  about: 'an MLP on patches',
  settings: {
    width: count('Model', 24, 'width', { min: 1 }),
    patch: count('Model', 8, 'pixels', { min: 1 }),
  },
  build: (config, { classes, ...images }) => new PatchMlp(config, { ...images, classes: classes.length }),
});

const gpuOf = withGpu();
const folder = scratch('second-model');
const dataset = images({ train: 100, test: 30 });
const settings = resolveSettings({
  ...{ model: 'patch-mlp', width: 16, batchSize: 10, epochs: 3, logInterval: 1, learningRate: 1e-2 },
  ...{ emaDecay: 0.9, mixup: 0.2, augment: 'none' },
});

it('trains for thirty steps through fit, and learns', async () => {
  const training = await setup(gpuOf(), resolveSettings(settings, { mixup: 0 }), dataset);
  const losses: number[] = [];
  const { last, reason } = await fit(training, { log: ({ loss }) => losses.push(loss) });
  training.release();
  expect(reason).toBe('finished');
  expect(losses).toHaveLength(30);
  const mean = (values: number[]) => values.reduce((sum, loss) => sum + loss, 0) / values.length;
  expect(mean(losses.slice(-5))).toBeLessThan(0.95 * mean(losses.slice(0, 5)));
  expect(last!.images).toBe(30);
});

/** Trains into the folder `name`, or goes on there. */
async function train(name: string, more: Partial<Settings> = {}, resume = false): Promise<string> {
  const path = join(folder, name);
  const trainer = await Trainer.prepare(
    trainerInput(gpuOf(), path, {
      dataset,
      settings: resolveSettings(settings, more),
      ...(resume ? { resume: path } : {}),
    }),
  );
  await trainer.run();
  trainer.release();
  return path;
}

it.each<[string, Partial<Settings>]>([
  ['adamw', {}],
  ['muon', { optimizer: 'muon' }],
])('resumes to the same bits in the middle of an epoch, by %s', async (name, more) => {
  const whole = await train(`whole-${name}`, more);
  await train(`cut-${name}`, { ...more, maxSteps: 13, scheduleSteps: 30 });
  const cut = await train(`cut-${name}`, { ...more, scheduleSteps: 30 }, true);
  expect(results(cut)).toEqual(results(whole));
});

it('is evaluated from its run directory', async () => {
  const run = readRun(join(folder, 'whole-adamw'));
  const model = buildModel(run.settings, imagesOf(run));
  expect(model).toBeInstanceOf(PatchMlp);
  expect(model.summary()).toMatch(/^An MLP of width 16 on patches of 8; images 3 x 32 x 32, 10 classes\n/);
  loadWeights(gpuOf(), model, run);
  const split = await dataset.load('test');
  const store = uploadSplit(gpuOf(), dataset, split, run.settings.normalize);
  const records = Uint32Array.from({ length: split.count }, (_, i) => i);
  const { classes } = dataset;
  const { top1 } = await evaluate({ model, store, records, labels: split.labels, classes, batchSize: 7 });
  const history: EpochEntry[] = JSON.parse(readFileSync(join(folder, 'whole-adamw', 'history.json'), 'utf8'));
  expect(top1).toBe(Math.max(...history.flatMap((it) => [it.val_accuracy!, it.ema_val_accuracy!])));
});

it.each([
  [{ model: 'patch-mlp', width: 0 }, /--width must be at least 1, not 0/],
  [{ model: 'patch-mlp', patchSize: 4 }, /--patch-size is not a setting of --model patch-mlp/],
  [{ width: 8 }, /There is no setting called width/],
])('settings of the wrong model are refused: %j', (layer, says) => {
  expect(() => resolveSettings(layer)).toThrow(says);
});

it('is refused --layer-decay, since it names no layers', async () => {
  const started = setup(gpuOf(), resolveSettings(settings, { layerDecay: 0.5 }), dataset);
  await expect(started).rejects.toThrow(/--layer-decay 0.5 needs a model that lists its layers/);
});
