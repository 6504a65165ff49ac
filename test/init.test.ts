/** Loading initial weights (--init): strict except for the head, which is new for another number of classes, as in timm. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FormatError } from '../src/core/errors.js';
import {
  asFloat32,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type Safetensors,
  type TensorData,
} from '../src/io/safetensors.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { Trainer } from '../src/runs/trainer.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
const folder = mkdtempSync(join(tmpdir(), 'patchlight-init-'));
afterAll(() => rmSync(folder, { recursive: true }));

const dataset = images({ train: 20, test: 10 });
const D = 24;

const read = (path: string): Safetensors => decodeSafetensors(path, readFileSync(path));

/** A run of one step. With `rate` 0 it keeps its initial weights. */
async function train(
  name: string,
  options: { init?: string; resume?: string; rate?: number; depth?: number },
) {
  const { init, resume, rate = 0, depth = 1 } = options;
  const settings = resolveSettings({
    ...{ embedDim: D, depth, numHeads: 2, patchSize: 16, batchSize: 20, epochs: 1, seed: 5 },
    ...{ learningRate: rate, minLr: 0, warmupEpochs: 0, evalInterval: 2, emaDecay: 0.9 },
  });
  const notes: string[] = [];
  const reporter = { start() {}, step() {}, epoch() {}, note: (sentence: string) => notes.push(sentence) };
  const path = resume ?? join(folder, name);
  const run = RunDirectory.open(path, { resume: resume !== undefined });
  const input = { gpu: gpuOf(), settings, dataset, run, environment: {}, init, resume };
  const trainer = await Trainer.prepare({ ...input, reporter: reporter as never });
  await trainer.run();
  trainer.release();
  const checkpoint = (file: string) => read(join(path, 'checkpoints', file)).tensors;
  return {
    path,
    notes,
    weights: checkpoint('final.safetensors'),
    average: checkpoint('final.ema.safetensors'),
    state: join(path, 'checkpoints', 'last.state.safetensors'),
  };
}

type Run = Awaited<ReturnType<typeof train>>;
/** Trained weights, and the initial weights of the seed. */
let trained: Run;
let untrained: Run;
beforeAll(async () => {
  trained = await train('trained', { rate: 1e-2 });
  untrained = await train('untrained', {});
});

const filled = (shape: number[]): TensorData =>
  fromFloat32(shape, new Float32Array(shape.reduce((a, b) => a * b)).fill(0.5));

/** A file of the trained weights with some tensors replaced, or removed by null. */
function file(
  name: string,
  others: Readonly<Record<string, TensorData | null>>,
  from = trained.weights,
): string {
  const tensors = new Map(from);
  for (const [key, tensor] of Object.entries(others))
    if (tensor) tensors.set(key, tensor);
    else tensors.delete(key);
  const path = join(folder, `${name}.safetensors`);
  writeFileSync(path, encodeSafetensors(tensors, {}));
  return path;
}

const hundred = { 'head.weight': filled([100, D]), 'head.bias': filled([100]) };
const isHead = (name: string): boolean => name.startsWith('head.');

describe('a run that starts from given weights', () => {
  it.each<[string, () => string, string]>([
    [
      'with a head of another number of classes',
      () => file('hundred', hundred),
      'has 100 classes and this data set 10. The new classifier keeps its initial values.',
    ],
    [
      'without a head',
      () => file('headless', { 'head.weight': null, 'head.bias': null }),
      'has no classifier. The classifier for the 10 classes of this data set keeps its initial values.',
    ],
    [
      'of a state file with such a head',
      () => file('state', hundred, read(trained.state).tensors as never),
      'has 100 classes and this data set 10. The new classifier keeps its initial values.',
    ],
  ])('%s keeps the backbone, starts the head from the seed, and says so', async (what, make, sentence) => {
    const init = make();
    const { notes, weights, average } = await train(what, { init });
    expect(notes).toEqual([expect.stringContaining(sentence)]);
    expect(notes[0]).toContain(init);
    for (const [name, tensor] of weights)
      expect(tensor, name).toEqual((isHead(name) ? untrained : trained).weights.get(name));
    // The average starts from the same values, but d · w + (1 − d) · w rounds.
    const averaged = asFloat32(average.get('head.weight') as TensorData);
    asFloat32(weights.get('head.weight') as TensorData).forEach((value, i) => {
      expect(averaged[i]).toBeCloseTo(value, 6);
    });
  });

  it('of a file that fits has all of them, and no note', async () => {
    const { notes, weights } = await train('same', { init: file('same', {}) });
    expect(notes).toEqual([]);
    expect(weights).toEqual(trained.weights);
  });

  it.each<[string, Readonly<Record<string, TensorData | null>>, RegExp]>([
    [
      'a head of another width',
      { 'head.weight': filled([100, 48]), 'head.bias': filled([100]) },
      /head\.weight is \(100, 48\) instead of \(10, 24\)/,
    ],
    [
      'a weight for other classes alone',
      { 'head.weight': filled([100, D]) },
      /head\.weight is \(100, 24\) instead/,
    ],
    [
      'a bias for other classes alone',
      { 'head.bias': filled([100]) },
      /head\.bias is \(100,\) instead of \(10,\)/,
    ],
    [
      'a weight and a bias for different classes',
      { 'head.weight': filled([100, D]), 'head.bias': filled([99]) },
      /head\.weight is \(100, 24\) .*head\.bias is \(99,\)/,
    ],
    ['a weight without a bias', { 'head.bias': null }, /head\.bias is missing/],
    [
      'another head and no norm',
      { ...hundred, 'norm.weight': null },
      /this model: norm\.weight is missing\.$/,
    ],
    [
      'another head and more',
      { ...hundred, extra: filled([1]) },
      /this model: extra is not a part of this model\.$/,
    ],
  ])('refuses %s by name', async (what, others, sentence) => {
    const started = train(`refused-${what}`, { init: file('refused', others) });
    await expect(started).rejects.toThrow(FormatError);
    await expect(started).rejects.toThrow(sentence);
  });
});

it('a continued run refuses a head of another number of classes', async () => {
  const path = join(folder, 'continued');
  mkdirSync(join(path, 'checkpoints'), { recursive: true });
  const { tensors, metadata } = read(trained.state);
  const { crc32c: _, crc32c_metadata: __, ...rest } = metadata;
  const others = new Map([...tensors, ...Object.entries(hundred)]);
  writeFileSync(join(path, 'checkpoints', 'last.state.safetensors'), encodeSafetensors(others, rest));
  await expect(train('', { resume: path })).rejects.toThrow(
    /head\.weight is \(100, 24\) instead of \(10, 24\)/,
  );
});
