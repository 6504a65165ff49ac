/** How options of a run interact, and how a run and its continuation do. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { OutOfMemoryError } from '../src/core/errors.js';
import type { Schedule } from '../src/optim/schedule.js';
import { endsHigh, scheduleOf } from '../src/recipe/schedule.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { trainWithRestarts } from '../src/runs/restarts.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { isSameFolder, runOf } from '../src/runs/run_paths.js';
import { Trainer, type TrainerInput } from '../src/runs/trainer.js';
import type { Tensor } from '../src/tensor/tensor.js';
import { type Evaluation, type EvaluationInput, evaluate } from '../src/training/evaluate.js';
import type { EpochEntry } from '../src/training/progress.js';
import { scratch } from './faults/common.js';
import { loseAt } from './faults/loss.js';
import { results, silent, statePath, steps, tiny, trainerInput } from './faults/run.js';
import { openGpu, withGpu } from './gpu.js';

const gpuOf = withGpu();
const folder = scratch('runs');
const textOf = (path: string, name: string) => readFileSync(join(path, name), 'utf8');
const historyOf = (path: string) => JSON.parse(textOf(path, 'history.json')) as EpochEntry[];

interface Case extends Partial<Omit<TrainerInput, 'settings'>> {
  readonly settings?: Partial<Settings>;
  /** Accuracies that the run's evaluations report, in order, instead of the real ones. */
  readonly judged?: readonly number[];
}

/** Trains into the folder `name`, or resumes there, and returns the messages. */
async function train(name: string, { settings, judged, ...more }: Case = {}) {
  const path = join(folder, name);
  const notes: string[] = [];
  const accuracies = [...(judged ?? [])];
  const pretend = async (input: EvaluationInput): Promise<Evaluation> => ({
    ...(await evaluate(input)),
    top1: accuracies.shift() as number,
  });
  const trainer = await Trainer.prepare(
    trainerInput(gpuOf(), path, {
      settings: resolveSettings({ ...tiny, emaDecay: 0, ...settings }),
      reporter: { ...silent, note: (note) => notes.push(note) },
      ...(judged ? { evaluate: pretend } : {}),
      ...more,
    }),
  );
  const outcome = await trainer.run().finally(() => trainer.release());
  return { outcome, path, notes };
}

const resume = (name: string) => ({ resume: join(folder, name) });

describe('patience', () => {
  const settings = { epochs: 12, evalInterval: 3, patience: 2 };

  it('counts evaluations, not epochs', async () => {
    const { outcome } = await train('patient', { settings, judged: [0.5, 0.4, 0.5] });
    expect(outcome).toMatchObject({ reason: 'patience', best: { accuracy: 0.5, epoch: 3 } });
    expect(outcome.history).toHaveLength(9);
    expect(outcome.last?.top1).toBe(0.5);
  });

  it('that has run out trains nothing more when the run is resumed', async () => {
    const before = results(join(folder, 'patient'));
    for (let i = 0; i < 2; i++) {
      const { outcome, notes, path } = await train('patient', { ...resume('patient'), settings });
      expect(outcome.reason).toBe('patience');
      expect(notes.at(-1)).toBe(
        'Nothing is left to train: the last 2 evaluations were not better than the best. Use a larger --patience to continue.',
      );
      expect(results(path)).toEqual(before);
    }
    const longer = { ...settings, patience: 3 };
    const { outcome } = await train('patient', { ...resume('patient'), settings: longer, judged: [0.6] });
    expect(outcome).toMatchObject({ reason: 'finished', best: { accuracy: 0.6, epoch: 12 } });
  });
});

describe('the best weights', () => {
  it('stay the best where a run was cut short within an epoch and goes on', async () => {
    const cut = await train('cut', { settings: { maxSteps: 4 }, judged: [0.3, 0.6] });
    expect(cut.outcome).toMatchObject({ reason: 'max-steps', best: { accuracy: 0.6, epoch: 2 } });
    const best = textOf(cut.path, 'checkpoints/best.safetensors');
    const longer = await train('cut', { ...resume('cut'), judged: [0.4, 0.5] });
    expect(longer.outcome).toMatchObject({ reason: 'finished', best: { accuracy: 0.6, epoch: 2 } });
    expect(historyOf(cut.path).map(({ val_accuracy }) => val_accuracy)).toEqual([0.3, 0.4, 0.5]);
    expect(textOf(cut.path, 'checkpoints/best.safetensors')).toBe(best);
  });

  it('are found anew where the file holds those of a later step than the one that is continued from', async () => {
    const { path } = await train('ahead', { judged: [0.3, 0.9, 0.4] });
    const first = join(path, 'checkpoints', 'last.2.state.safetensors');
    const { outcome } = await train('ahead', { resume: first, judged: [0.3, 0.2, 0.1] });
    expect(outcome.best).toMatchObject({ accuracy: 0.3, epoch: 1 });
  });
});

describe('an evaluation', () => {
  it('that memory does not suffice for comes after the state of its epoch is saved', async () => {
    const input = trainerInput(gpuOf(), join(folder, 'short'), {
      settings: resolveSettings({ ...tiny }),
      evaluate: async () => {
        throw new OutOfMemoryError('no more memory.');
      },
    });
    const trainer = await Trainer.prepare(input);
    await expect(trainer.run()).rejects.toThrow('no more memory.');
    trainer.release();
    const settings = { emaDecay: tiny.emaDecay };
    await train('short', { ...resume('short'), settings });
    const whole = await train('long enough', { settings });
    expect(results(join(folder, 'short'))).toEqual(results(whole.path));
  });

  it('takes as many images at a time as training does, and fewer where memory is refused', async () => {
    const gpu = gpuOf();
    const acquire = gpu.pool.acquire.bind(gpu.pool);
    const asked: number[] = [];
    // Training uses 20 x 3 x 32 x 32 floats at a time; an evaluation may use a quarter of them.
    gpu.pool.acquire = (bytes, label) => {
      if (label === 'images' && trained) asked.push(bytes / (4 * 3 * 32 * 32));
      if (label === 'images' && trained && bytes > 5 * 4 * 3 * 32 * 32)
        throw new OutOfMemoryError('[images] out of memory.');
      return acquire(bytes, label);
    };
    let trained = false;
    try {
      const { outcome, notes } = await train('refused', {
        settings: { epochs: 1 },
        onStep: (step) => {
          trained = step === 3;
        },
      });
      expect([asked[0], Math.max(...asked), asked.at(-1)]).toEqual([20, 20, 5]);
      expect(outcome.last?.images).toBe(20);
      expect(notes).toEqual([
        'Memory is short: the evaluation continues with a batch size of 10.',
        'Memory is short: the evaluation continues with a batch size of 5.',
      ]);
    } finally {
      gpu.pool.acquire = acquire;
    }
  });
});

describe('the log', () => {
  const settings = { logInterval: 100_000_000 };

  it('has the last step of an epoch and of a run, whatever its interval, and no room for more than it needs', async () => {
    const before = gpuOf().memory.usedBytes;
    const { path } = await train('two', { settings: { ...settings, maxSteps: 2 } });
    expect(steps(path).map(({ step }) => step)).toEqual([2]);
    expect(gpuOf().memory.usedBytes - before).toBeLessThan(100e6);
  });

  it('of a run that goes on beyond its step limit is the log of the undisturbed run', async () => {
    await train('two', { ...resume('two'), settings });
    const whole = await train('all', { settings });
    expect(steps(whole.path).map(({ step }) => step)).toEqual([3, 6, 9]);
    const { tensors: _, ...two } = results(join(folder, 'two'));
    expect(results(whole.path)).toMatchObject(two);
  });
});

it('the training loss of an epoch is the mean over its images', async () => {
  const { path } = await train('mean', { settings: { epochs: 1 } });
  const [a, b, c] = steps(path).map(({ loss }) => loss as number) as [number, number, number];
  expect(historyOf(path)[0]!.train_loss).toBeCloseTo((20 * a + 20 * b + 10 * c) / 50, 12);
});

it('an epoch whose every step --amp has skipped has no loss instead of NaN', async () => {
  const path = join(folder, 'skipped');
  const settings = resolveSettings({ ...tiny, emaDecay: 0, amp: true, epochs: 1 });
  const trainer = await Trainer.prepare(trainerInput(gpuOf(), path, { settings }));
  const { norm } = (trainer.training.step as unknown as { parts: { input: { store: { norm: Tensor } } } })
    .parts.input.store;
  norm.upload(new Float32Array(6).fill(Number.NaN));
  await trainer.run();
  trainer.release();
  expect(historyOf(path)).toMatchObject([{ train_loss: null, train_accuracy: null, images: 0 }]);
  expect(textOf(path, 'history.csv')).not.toMatch(/NaN/);
});

describe('the images', () => {
  it.each([
    [{ valSplit: 50 }, '--val-split 50 leaves no training images: the data set has 50. Use a smaller split.'],
    [
      { limitTrain: 10, valSplit: 20 },
      '--val-split 20 leaves no training images: --limit-train leaves 10 of 50. Use a smaller split.',
    ],
  ])('refuses a validation split that leaves nothing to train on: %o', async (settings, says) => {
    await expect(train('nothing', { settings })).rejects.toThrow(says);
  });
});

describe('the schedule', () => {
  const settings = (more: Partial<Settings>) => resolveSettings({ epochs: 10, ...more });

  it('runs over --schedule-steps, where it is given', () => {
    expect(scheduleOf(settings({ warmupEpochs: 0.55 }), 30)).toMatchObject({
      warmupSteps: 17,
      totalSteps: 300,
    });
    expect(scheduleOf(settings({ scheduleSteps: 40 }), 30)).toMatchObject({ totalSteps: 40 });
    expect(() => scheduleOf(settings({ scheduleSteps: 30, warmupEpochs: 1 }), 30)).toThrow(
      '--warmup-epochs 1 means 30 steps: it must be shorter than --schedule-steps 30.',
    );
  });

  it('falls to its floor within --max-steps where both are as long', async () => {
    const both = { maxSteps: 5, scheduleSteps: 5, warmupEpochs: 0, learningRate: 1 / 8, minLr: 1e-3 };
    const { path, notes } = await train('both', { settings: both });
    expect(steps(path).at(-1)?.lr).toBeLessThan(0.02);
    expect(notes).toEqual([]);
  });

  const cosine: Schedule = { kind: 'cosine', lr: 1, warmupLr: 0, minLr: 0, warmupSteps: 0, totalSteps: 100 };
  it.each<[string, Partial<Schedule>, number, RegExp | null]>([
    ['half way', {}, 50, /^The run ends after 50 of the 100 steps of its schedule, at a learning rate of 0\.516 instead of 0\. Use --schedule-steps 50 to end the schedule with the run\.$/], // biome-ignore format: a table
    ['near the end', {}, 90, null],
    ['at the end', {}, 100, null],
    ['of a constant rate', { kind: 'constant' }, 50, null],
    ['of one cycle', { kind: 'one-cycle' }, 30, /at a learning rate of 1 instead of 0\.000004/],
    ['of a line', { kind: 'linear' }, 50, /at a learning rate of 0\.51 instead of 0\./],
    ['above a high floor', { minLr: 0.9 }, 50, /at a learning rate of 0\.952 instead of 0\.9/],
  ])('of a run that ends %s', (_, more, last, says) => {
    const sentence = endsHigh({ ...cosine, ...more }, last);
    if (says) expect(sentence).toMatch(says);
    else expect(sentence).toBeNull();
  });
});

describe('a run that goes on in another folder', () => {
  const settings = { emaDecay: tiny.emaDecay };
  /** The state of a nine-step run after `maxSteps` steps. */
  const begun = async (name: string, maxSteps: number) => {
    if (!existsSync(join(folder, name))) await train(name, { settings: { ...settings, maxSteps } });
    return join(folder, name);
  };

  it('takes its whole history along, and leaves the first folder as it was', async () => {
    const first = await begun('first', 6);
    const before = results(first);
    const run = RunDirectory.open(join(folder, 'second'), { resume: false });
    const { path } = await train('second', { resume: first, run, settings });
    const whole = await train('undisturbed', { settings });
    expect(results(path)).toEqual(results(whole.path));
    expect(readdirSync(path).filter((name) => name.startsWith('events.'))).toHaveLength(2);
    expect(results(first)).toEqual(before);
  });

  it('is refused a folder that holds another run, or a config.json that is no run’s', async () => {
    const first = await begun('first', 6);
    expect(() => RunDirectory.open(first, { resume: false })).toThrow(
      /already holds a run; continue it with/,
    );
    const other = join(folder, 'a project');
    mkdirSync(other);
    writeFileSync(join(other, 'config.json'), '{"name": "mine"}');
    expect(() => RunDirectory.open(other, { resume: false })).toThrow(
      /a project\/config\.json is not the config\.json of a run; give another --output\.$/,
    );
    expect(readdirSync(other)).toEqual(['config.json']);
  });

  it('goes on from a state file that was copied elsewhere, whose folder is no run directory', async () => {
    const first = await begun('first', 6);
    const backup = join(folder, 'backup', 'kept', 'last.state.safetensors');
    cpSync(statePath(first), backup);
    expect(runOf(backup)).toBeNull();
    expect(runOf(first)).toBe(first);
    expect(runOf(statePath(first))).toBe(first);
    expect(isSameFolder(first, join(first, '..', 'first'))).toBe(true);
    expect(isSameFolder(first, join(folder, 'not there'))).toBe(false);
    const run = RunDirectory.open(join(folder, 'from a copy'), { resume: false });
    const { path } = await train('from a copy', { resume: backup, run, settings });
    expect(steps(path).map(({ step }) => step)).toEqual([7, 8, 9]);
    expect(historyOf(path).map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(results(path).tensors.at(-1)).toEqual(
      results((await train('undisturbed too', { settings })).path).tensors.at(-1),
    );
  });

  it('has the last weights for its best where the best of before were not copied along', async () => {
    await train('complete', { judged: [0.9, 0.2, 0.3] });
    const backup = join(folder, 'backup', 'complete', 'last.state.safetensors');
    cpSync(statePath(join(folder, 'complete')), backup);
    const run = RunDirectory.open(join(folder, 'completed'), { resume: false });
    const { outcome, path, notes } = await train('completed', { resume: backup, run, judged: [0.3] });
    expect(notes.slice(-2)).toEqual([
      `The best weights so far (epoch 1) are not in ${path}: the search for the best starts again.`,
      'Nothing is left to train: 3 epochs are done. Use a larger --epochs to continue.',
    ]);
    expect(outcome.best).toMatchObject({ accuracy: 0.3, epoch: 3 });
    const { tensors } = results(path);
    expect(tensors.map(([name]) => name)).toContain('best.safetensors');
    const of = (name: string) => tensors.find(([file]) => file === name)?.[1];
    expect(of('best.safetensors')).toEqual(of('final.safetensors'));
  });

  it('leaves no folder behind where it could not begin', () => {
    const path = join(folder, 'new', 'and', 'empty');
    RunDirectory.open(path, { resume: false }).abandon();
    expect(existsSync(join(folder, 'new'))).toBe(false);
    const run = RunDirectory.open(path, { resume: false });
    run.writeConfig({});
    run.abandon();
    expect(readdirSync(path)).toContain('config.json');
  });
});

it('a device lost before the first save starts again from the state that was named, not from a newer one', async () => {
  const { path } = await train('avoided');
  const named = join(path, 'checkpoints', 'last.2.state.safetensors');
  const taken: string[] = [];
  const gpus = [await openGpu(), await openGpu()];
  let trainers = 0;
  const { trainer } = await trainWithRestarts({
    ...trainerInput(gpus[0]!, path, {
      resume: named,
      settings: resolveSettings({ ...tiny, emaDecay: 0 }),
      reporter: { ...silent, note: (note) => taken.push(note) },
    }),
    restarts: 1,
    reopen: async () => gpus[1]!,
    environmentOf: () => ({}),
    prepared: (prepared) => {
      if (trainers++ === 0) loseAt(gpus[0]!, prepared, 'forward', 1);
    },
  });
  expect(trainers).toBe(2);
  expect(taken.filter((note) => note.startsWith('Continuing from'))).toEqual(
    [1, 2].map(() => `Continuing from ${named}: 6 steps done.`),
  );
  trainer.release();
  for (const gpu of gpus) gpu.close();
});
