/** The training loop as a library: a run's files, exact continuation, evaluation, early stopping, refusals. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Sampler, splitIndices } from '../src/data/sampler.js';
import { decodeSafetensors } from '../src/io/safetensors.js';
import { presets } from '../src/recipe/presets.js';
import { kebab, resolveSettings, type Settings, settingNames } from '../src/recipe/settings.js';
import { checkContinuation } from '../src/runs/continuation.js';
import type { Reporter } from '../src/runs/reporter.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { Trainer } from '../src/runs/trainer.js';
import type { Outcome } from '../src/training/fit.js';
import type { EpochEntry, StepEntry } from '../src/training/progress.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const dataset = images({ train: 90, test: 40 });

// Everything random is on, the last batch is smaller, and weights are averaged.
const small: Partial<Settings> = {
  embedDim: 24,
  depth: 2,
  numHeads: 3,
  mlpRatio: 2,
  patchSize: 8,
  batchSize: 20,
  epochs: 2,
  logInterval: 1,
  clipGrad: 1,
  dropout: 0.1,
  attentionDropout: 0.1,
  dropPath: 0.1,
  labelSmoothing: 0.1,
  emaDecay: 0.99,
  warmupEpochs: 0.5,
};

const silent: Reporter = { start() {}, step() {}, epoch() {}, note() {} };

interface Run {
  readonly outcome: Outcome;
  readonly path: string;
  readonly trainer: Trainer;
}

async function train(
  name: string,
  more: Partial<Settings> = {},
  options: {
    resume?: string;
    output?: string;
    init?: string;
    stopAfter?: number;
    note?: (sentence: string) => void;
  } = {},
): Promise<Run> {
  const path = options.output ?? options.resume ?? join(folder, name);
  const run = RunDirectory.open(path, { resume: options.resume !== undefined });
  const settings = resolveSettings({ ...small, ...more });
  let steps = 0;
  const reporter: Reporter = {
    ...silent,
    ...(options.note ? { note: options.note } : {}),
    step: () => {
      if (++steps === options.stopAfter) trainer.stopRequested = true;
    },
  };
  const input = { gpu: gpuOf(), settings, dataset, run, reporter, environment: { version: 'test' } };
  const trainer = await Trainer.prepare({ ...input, init: options.init, resume: options.resume });
  return { outcome: await trainer.run(), path, trainer };
}

const text = (path: string, ...names: string[]) => readFileSync(join(path, ...names), 'utf8');
const weights = (path: string, name: string) => {
  const file = join(path, 'checkpoints', name);
  return decodeSafetensors(file, readFileSync(file));
};
const steps = (path: string): StepEntry[] =>
  text(path, 'steps.jsonl')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
// The only figure that the settings do not determine.
const timeless = (entries: StepEntry[]) => entries.map(({ images_per_second: _, ...rest }) => rest);

describe('a run', () => {
  let whole: Run;
  beforeAll(async () => {
    whole = await train('whole');
  });

  it('logs every step with finite figures', () => {
    const entries = steps(whole.path);
    expect(entries.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (const entry of entries)
      for (const value of Object.values(entry)) expect(Number.isFinite(value)).toBe(true);
  });

  it('writes history, config and checkpoints', () => {
    const history = JSON.parse(text(whole.path, 'history.json')) as EpochEntry[];
    expect(history.map(({ epoch }) => epoch)).toEqual([1, 2]);
    const config = JSON.parse(text(whole.path, 'config.json'));
    expect(config).toMatchObject({
      version: 'test',
      settings: small,
      parameters: whole.trainer.model.numParams(),
    });
    const names = whole.trainer.model.parameters().map(({ name }) => name);
    for (const name of ['best.safetensors', 'final.safetensors', 'final.ema.safetensors'])
      expect([...weights(whole.path, name).tensors.keys()]).toEqual(names);
    expect(weights(whole.path, 'last.state.safetensors').tensors.size).toBe(4 * names.length);
  });

  it('repeats bit by bit', async () => {
    const again = await train('again');
    expect(timeless(steps(again.path))).toEqual(timeless(steps(whole.path)));
    expect(weights(again.path, 'final.safetensors').tensors).toEqual(
      weights(whole.path, 'final.safetensors').tensors,
    );
  });

  it.each([1, 3, 5, 7])('stopped after step %i and continued is the undisturbed run', async (stopAfter) => {
    const stopped = await train(`stopped-${stopAfter}`, {}, { stopAfter });
    expect(stopped.outcome.reason).toBe('stopped');
    expect(steps(stopped.path)).toHaveLength(stopAfter);
    await train('', {}, { resume: stopped.path });
    expect(timeless(steps(stopped.path))).toEqual(timeless(steps(whole.path)));
    for (const name of ['final.safetensors', 'final.ema.safetensors', 'last.state.safetensors'])
      expect(weights(stopped.path, name).tensors).toEqual(weights(whole.path, name).tensors);
    const figures = (path: string) =>
      (JSON.parse(text(path, 'history.json')) as EpochEntry[]).map(({ seconds: _, ...rest }) => rest);
    expect(figures(stopped.path)).toEqual(figures(whole.path));
  });

  it('continues beyond a step limit as if there had been none', async () => {
    const limited = await train('limited', { maxSteps: 7 });
    expect(limited.outcome.reason).toBe('max-steps');
    await train('', {}, { resume: limited.path });
    expect(weights(limited.path, 'final.safetensors').tensors).toEqual(
      weights(whole.path, 'final.safetensors').tensors,
    );
  });

  it('starts from given weights, and refuses those of another model by name', async () => {
    const init = join(whole.path, 'checkpoints', 'final.safetensors');
    const next = await train('next', { maxSteps: 1, learningRate: 0, minLr: 0, warmupEpochs: 0 }, { init });
    expect(weights(next.path, 'final.safetensors').tensors).toEqual(
      weights(whole.path, 'final.safetensors').tensors,
    );
    await expect(train('deeper', { depth: 3 }, { init })).rejects.toThrow(
      /does not fit this model: blocks\.2\.\S+ is missing/,
    );
    await expect(train('wider', { embedDim: 48 }, { init })).rejects.toThrow(
      /proj.weight is \(24, 3, 8, 8\) instead of \(48, 3, 8, 8\)/,
    );
  });

  it('refuses to write over a run', () => {
    expect(() => RunDirectory.open(whole.path, { resume: false })).toThrow(
      /already holds a run; continue it with --resume/,
    );
  });
});

describe('a run whose disk fails', () => {
  const state = (path: string, name: string) => join(path, 'checkpoints', name);

  it('goes on from the state before a damaged one, bit by bit', async () => {
    const whole = await train('undamaged');
    const { path } = await train('damaged', { maxSteps: 7 });
    await train('', { maxSteps: 8 }, { resume: path });
    const newest = state(path, 'last.state.safetensors');
    const bytes = readFileSync(newest);
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] as number) ^ 1;
    writeFileSync(newest, bytes);
    const notes: string[] = [];
    await train('', {}, { resume: path, note: (sentence) => notes.push(sentence) });
    expect(notes[0]).toMatch(/last\.state\.safetensors: .*checksum.* The state before it is used instead\.$/);
    expect(timeless(steps(path))).toEqual(timeless(steps(whole.path)));
    expect(weights(path, 'final.safetensors').tensors).toEqual(
      weights(whole.path, 'final.safetensors').tensors,
    );
  });

  it('is continued without what saves that were cut short have left there, and not elsewhere', async () => {
    const leave = (path: string) => {
      writeFileSync(state(path, 'last.state.safetensors.4194305.tmp'), 'x');
      writeFileSync(state(path, 'mine.4194305.tmp'), 'x');
    };
    const left = (path: string) =>
      readdirSync(join(path, 'checkpoints')).filter((name) => name.endsWith('.tmp'));
    const { path } = await train('cut-short', { maxSteps: 1 });
    leave(path);
    await train('', { maxSteps: 2 }, { resume: path });
    expect(left(path)).toEqual(['mine.4194305.tmp']);
    leave(path);
    const elsewhere = join(folder, 'elsewhere');
    await train('', { maxSteps: 3 }, { resume: state(path, 'last.state.safetensors'), output: elsewhere });
    expect(left(path)).toEqual(['last.state.safetensors.4194305.tmp', 'mine.4194305.tmp']);
  });

  it('goes on after two saves that fail, and not after three', async () => {
    const blocked = (path: string) => state(path, `last.state.safetensors.${process.pid}.tmp`); // a folder where the file is to be written
    const notes: string[] = [];
    const fail = async (name: string, failures: number) => {
      mkdirSync(blocked(join(folder, name)), { recursive: true });
      return train(
        name,
        { epochs: 4 },
        {
          note: (sentence) => {
            notes.push(sentence);
            if (notes.length === failures) rmSync(blocked(join(folder, name)), { recursive: true });
          },
        },
      );
    };
    await fail('two-failures', 2);
    expect(notes).toHaveLength(2);
    expect(notes[0]).toMatch(/^A save failed and training continues \(2 more .*last\.state\.safetensors/);
    notes.length = 0;
    await expect(fail('three-failures', 9)).rejects.toThrow(
      /^3 saves in a row have failed\. The last error: /,
    );
    expect(notes).toHaveLength(2);
  });
});

describe('accumulated gradients', () => {
  // 90 images in steps of 24: an epoch has three full steps and one of 18 images, whose last part has 2.
  const parts = { batchSize: 8, gradAccumSteps: 3 };

  it('are those of the whole batch', async () => {
    const plain = { augment: 'none', dropout: 0, attentionDropout: 0, dropPath: 0 } as const;
    const whole = await train('in-one', { ...plain, batchSize: 24 });
    const inParts = await train('in-parts', { ...plain, ...parts });
    const [one, many] = [steps(whole.path), steps(inParts.path)];
    expect(many).toHaveLength(one.length);
    for (const [i, { loss, grad_norm }] of one.entries()) {
      expect(many[i]?.loss).toBeCloseTo(loss, 5);
      expect(many[i]?.grad_norm).toBeCloseTo(grad_norm as number, 4);
    }
    const accuracy = ({ outcome }: Run) => outcome.history.map(({ train_accuracy }) => train_accuracy);
    expect(accuracy(inParts)).toEqual(accuracy(whole));
  });

  it('repeat bit by bit when stopped and continued, everything random on', async () => {
    const undisturbed = await train('accumulate', parts);
    const stopped = await train('accumulate-stopped', parts, { stopAfter: 3 });
    await train('', parts, { resume: stopped.path });
    expect(timeless(steps(stopped.path))).toEqual(timeless(steps(undisturbed.path)));
    expect(weights(stopped.path, 'last.state.safetensors').tensors).toEqual(
      weights(undisturbed.path, 'last.state.safetensors').tensors,
    );
  });
});

it('with every augmentation on, stopped and continued is the undisturbed run', async () => {
  const augmented: Partial<Settings> = {
    augment: 'rand',
    scaleMin: 0.5,
    colorJitter: 0.4,
    randomErasing: 0.5,
    erasingMode: 'pixel',
    mixup: 0.8,
    cutmix: 1,
    mixupOffEpoch: 1,
  };
  const whole = await train('augmented', augmented);
  const stopped = await train('augmented-stopped', augmented, { stopAfter: 4 });
  await train('', augmented, { resume: stopped.path });
  expect(timeless(steps(stopped.path))).toEqual(timeless(steps(whole.path)));
  expect(weights(stopped.path, 'last.state.safetensors').tensors).toEqual(
    weights(whole.path, 'last.state.safetensors').tensors,
  );
});

it('learns: the training loss of 90 images falls by half', async () => {
  const { outcome } = await train('learns', {
    epochs: 90,
    dropout: 0,
    attentionDropout: 0,
    dropPath: 0,
    labelSmoothing: 0,
    emaDecay: 0,
    augment: 'none',
    learningRate: 3e-3,
    pool: 'mean',
    evalInterval: 90,
  });
  const losses = outcome.history.map(({ train_loss }) => train_loss);
  expect(losses[0]).toBeGreaterThan(2.2);
  expect(losses.at(-1)).toBeLessThan(1.1);
});

it('stops when accuracy no longer rises, and judges on held-out images when there are any', async () => {
  const { outcome, trainer } = await train('patience', {
    learningRate: 0,
    minLr: 0,
    warmupEpochs: 0,
    epochs: 9,
    patience: 2,
    valSplit: 30,
  });
  expect(outcome.reason).toBe('patience');
  expect(outcome.history).toHaveLength(3);
  expect(trainer.judge).toBe('validation');
  expect(outcome.last?.images).toBe(30);
});

it('names the step at which the loss is no longer finite', async () => {
  await expect(train('nan', { learningRate: 1e30, clipGrad: 0, warmupEpochs: 0 })).rejects.toThrow(
    /^Step \d+: the (loss|gradient norm) is (NaN|Infinity)/,
  );
});

describe('batches', () => {
  it('visit every record once an epoch, in another order each time, the same for the same seed', () => {
    const records = Uint32Array.from({ length: 50 }, (_, i) => 3 * i);
    const samplers = [1, 2].map((seed) => new Sampler(records, 8, { shuffle: true, seed }));
    const epoch = (seed: number, e: number, sampler = samplers[seed - 1]!) =>
      Array.from({ length: sampler.batches }, (_, i) => [...sampler.batch(e, i)]).flat();
    expect(epoch(1, 0)).not.toEqual(epoch(1, 1));
    expect(epoch(1, 0)).toEqual(epoch(1, 0, new Sampler(records, 8, { shuffle: true, seed: 1 })));
    expect(epoch(1, 0)).not.toEqual(epoch(2, 0));
    for (const e of [0, 1]) expect(epoch(1, e).sort((a, b) => a - b)).toEqual([...records]);
    const plain = new Sampler(records, 8, { shuffle: false, seed: 1 });
    expect([...plain.batch(3, 6)]).toEqual([144, 147]);
  });

  it('keep held-out records apart', () => {
    const { train: rest, validation } = splitIndices(100, 30, 5);
    expect(validation).toHaveLength(30);
    expect([...rest, ...validation].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });
});

describe('settings', () => {
  const free = [
    ...['epochs', 'maxSteps', 'maxFlops', 'scheduleSteps', 'patience', 'dataDir', 'gradCheckpointing'],
    ...['logInterval', 'evalInterval', 'checkpointInterval'],
  ];
  it.each(settingNames)('%s: may change in a continued run only if it changes no step', (name) => {
    const before = resolveSettings();
    const change = () => checkContinuation(before, { ...before, [name]: 'changed' });
    if (free.includes(name)) expect(change).not.toThrow();
    else
      expect(change).toThrow(
        `A continued run must keep its settings: ${name} was ${before[name]}, now changed.`,
      );
  });

  it('later layers win', () => {
    expect(resolveSettings({ epochs: 3, seed: 1 }, { epochs: 4 })).toMatchObject({
      epochs: 4,
      seed: 1,
      batchSize: 64,
    });
  });

  it.each([
    [{ epochs: 0 }, /--epochs must be at least 1, not 0/],
    [{ epochs: 1.5 }, /--epochs must be a whole number/],
    [{ epochs: '3' }, /--epochs must be a number/],
    [{ pool: 'max' }, /--pool must be one of cls, mean, not "max"/],
    [{ dropout: 1 }, /--dropout must be below 1/],
    [{ mixupProb: 1.5 }, /--mixup-prob must be at most 1/],
    [{ augment: 'none', scaleMin: 0.5 }, /--scale-min 0\.5 needs a crop/],
    [
      { augment: 'rand', randFlavour: 'timm', randMagnitude: 12 },
      /--rand-magnitude must be at most 10 with --rand-flavour timm/,
    ],
    [{ model: 'mlp' }, /There is no model called mlp\. Choose one of vit/],
    [{ warmupEpochs: 5, epochs: 5 }, /--warmup-epochs 5 must be fewer than --epochs 5/],
    [{ learningRate: Number.NaN }, /--learning-rate must be a finite number, not NaN/],
    [{ mixup: Number.POSITIVE_INFINITY }, /--mixup must be a finite number, not Infinity/],
    [{ toString: 1 }, /no setting called toString/],
  ])('refuses %o', (layer, says) => {
    expect(() => resolveSettings(layer)).toThrow(says);
  });

  it.each(Object.entries(presets))('preset %s is valid', (_, { settings }) => {
    expect(resolveSettings(settings)).toMatchObject(settings);
  });

  it('have one flag each', () => {
    expect(new Set(settingNames.map(kebab)).size).toBe(settingNames.length);
    expect(kebab('layerNormEps')).toBe('layer-norm-eps');
    expect(kebab('beta1')).toBe('beta1');
  });
});
