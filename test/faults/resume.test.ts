/** A run that was stopped anywhere and resumed equals the uninterrupted run. Changes in between are reported or refused. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ConfigError } from '../../src/core/errors.js';
import { Counter } from '../../src/core/rng.js';
import { resolveSettings } from '../../src/recipe/settings.js';
import { Trainer, type TrainerInput } from '../../src/runs/trainer.js';
import { withGpu } from '../gpu.js';
import { images } from '../images.js';
import { LONG, record, scratch, times } from './common.js';
import { few, results, silent, statePath, tiny, trainerInput } from './run.js';

const gpuOf = withGpu();
const folder = scratch('resume');
const section = 'Stopping and going on';

// Everything random is on, and a batch has two parts.
const settings = resolveSettings({
  ...tiny,
  ...{ batchSize: 8, gradAccumSteps: 2, epochs: 2, attentionDropout: 0.1, labelSmoothing: 0.1 },
  ...{
    augment: 'rand',
    scaleMin: 0.5,
    colorJitter: 0.4,
    randomErasing: 0.5,
    erasingMode: 'pixel',
    cutmix: 1,
  },
});
const STEPS = 8;

async function train(path: string, more: Partial<TrainerInput> = {}, stopAfter = 0) {
  const notes: string[] = [];
  const trainer = await Trainer.prepare(
    trainerInput(gpuOf(), path, {
      settings,
      reporter: { ...silent, note: (note) => notes.push(note) },
      onStep: (step) => {
        if (step === stopAfter) trainer.stopRequested = true;
      },
      ...more,
    }),
  );
  const outcome = await trainer.run();
  trainer.release();
  return { outcome, notes };
}

it('at random splits, everything random on', { timeout: LONG }, async () => {
  const whole = join(folder, 'whole');
  await train(whole);
  const undisturbed = results(whole);
  expect(undisturbed.steps).toHaveLength(STEPS);
  const draw = new Counter(5, 3);
  const count = times(3, 10);
  for (let i = 0; i < count; i++) {
    const path = join(folder, `split-${i}`);
    // The last step first: then only the evaluation is left to do.
    let at = i === 0 ? STEPS : 1 + draw.below(STEPS - 1);
    expect((await train(path, {}, at)).outcome.reason).toBe('stopped');
    for (; i % 2 === 1 && at < STEPS; at++) await train(path, { resume: path }, at + 1);
    expect((await train(path, { resume: path })).outcome.reason).toBe('finished');
    expect(results(path)).toEqual(undisturbed);
  }
  const held = 'weights, moments, average, steps.jsonl and history.json bit-identical';
  record({
    section,
    provoked: 'a run with augmentation, mixup, dropout and average, split at a random step',
    times: count,
    held,
  });
});

it('within an evaluation, which is then done anew', async () => {
  const whole = join(folder, 'judged');
  const slow = { dataset: images({ train: 50, test: 250 }), settings: { ...tiny, epochs: 1 } };
  await train(whole, slow);
  for (const batch of [2, 5]) {
    const path = join(folder, `judged-${batch}`);
    const trainer = await Trainer.prepare(trainerInput(gpuOf(), path, slow));
    const { model } = trainer;
    const forward = model.forward.bind(model);
    let seen = 0;
    model.forward = (x, mode) => {
      if (!mode?.training && ++seen === batch) trainer.stopRequested = true;
      return forward(x, mode);
    };
    expect(await trainer.run()).toMatchObject({ reason: 'stopped', history: [] });
    expect(seen).toBe(batch); // not one more
    await train(path, { ...slow, resume: path });
    expect(results(path)).toEqual(results(whole));
  }
});

it('says that the place, the tuning and the length have changed, in one note each', async () => {
  const path = join(folder, 'moved');
  const environment = {
    version: '0.1.0',
    adapter: 'old',
    driver: 'one',
    seed: 0,
    knobs: { a: 1, b: 2, c: 'x' },
  };
  await train(path, { environment }, 2);
  const elsewhere = { ...environment, adapter: 'new', driver: 'two', knobs: { a: 1, b: 3, c: 'y', d: 4 } };
  const { notes } = await train(path, {
    resume: path,
    environment: elsewhere,
    settings: { ...settings, epochs: 3 },
  });
  expect(notes).toEqual([
    'The environment has changed, so results may round differently: adapter was old, now new; driver was one, now two.',
    'The tuning of the adapter has changed, so results may round differently: b was 2, now 3; c was x, now y.',
    'The length of the run has changed, and with it the learning rate schedule: epochs was 2, now 3.',
    `Continuing from ${statePath(path)}: 2 steps done.`,
  ]);
});

it('refuses other images', async () => {
  const path = join(folder, 'other');
  await train(path, {}, 2);
  const relabelled = {
    ...few,
    load: async (split: 'train' | 'test') => {
      const { labels, ...rest } = await few.load(split);
      return { ...rest, labels: labels.map((label, i) => (i === 7 ? (label + 1) % 10 : label)) };
    },
  };
  const darker = {
    ...few,
    load: async (split: 'train' | 'test') => {
      const { images: pixels, ...rest } = await few.load(split);
      return { ...rest, images: pixels.map((value) => value >> 1) };
    },
  };
  for (const dataset of [images({ train: 60, test: 20 }), { ...few, name: 'cifar10' }, relabelled, darker]) {
    const refused = train(path, { dataset, resume: path });
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(
      /^A continued run must train on the same images: .+ was trained on shapes10, 50 images, checksum [0-9a-f]{8}; now the data set is \w+, \d\d images, checksum [0-9a-f]{8}\.$/,
    );
  }
});
