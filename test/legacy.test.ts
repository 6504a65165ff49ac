/** Runs of version 0.1.0 are evaluated and resumed as version 0.1.0 itself would. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openDataset } from '../src/data/sources.js';
import { asFloat32, decodeSafetensors } from '../src/io/safetensors.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { checkpointNames, metadataField } from '../src/runs/checkpoint.js';
import { imagesOf, readRun } from '../src/runs/saved_run.js';
import { Trainer } from '../src/runs/trainer.js';
import type { EpochEntry, StepEntry } from '../src/training/progress.js';
import { scratch } from './faults/common.js';
import { statePath, trainerInput } from './faults/run.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();
const fixture = join(import.meta.dirname, 'fixtures', 'run-0.1.0');
const textOf = (path: string, name: string) => readFileSync(join(path, name), 'utf8');
const weightsOf = (path: string) => decodeSafetensors(path, readFileSync(path)).tensors;
const stepsOf = (text: string) => text.trim().split('\n').map((line) => JSON.parse(line) as StepEntry); // biome-ignore format: one line

// Equal bits are only promised on the same adapter; on others, kernels round differently.
const NEAR = 1e-5;

it('a run of 0.1.0 goes on to the weights and logs that 0.1.0 itself made', async () => {
  const path = join(scratch('legacy'), 'run');
  cpSync(fixture, path, { recursive: true });
  const state = statePath(path);
  const saved = decodeSafetensors(state, readFileSync(state));
  const settings = resolveSettings(metadataField<Settings>(state, saved, 'settings'), { maxSteps: 0 });
  const dataset = await openDataset('shapes10', { dataDir: '', download: false });
  const trainer = await Trainer.prepare(trainerInput(gpuOf(), path, { dataset, settings, resume: path }));
  const outcome = await trainer.run();
  trainer.release();
  expect(outcome.reason).toBe('finished');

  const { adapter, driver } = JSON.parse(textOf(fixture, 'config.json'));
  const { info } = gpuOf();
  const same = info.name === adapter && info.driver === driver;
  const expected = weightsOf(join(fixture, 'expected.safetensors'));
  const actual = weightsOf(join(path, 'checkpoints', checkpointNames.final));
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [name, tensor] of expected) {
    const found = asFloat32(actual.get(name)!);
    if (same) expect(found, name).toEqual(asFloat32(tensor));
    for (const [i, value] of asFloat32(tensor).entries())
      expect(Math.abs(found[i]! - value), `${name} at ${i}`).toBeLessThanOrEqual(NEAR);
  }
  const before = stepsOf(textOf(fixture, 'expected.steps.jsonl'));
  const now = stepsOf(textOf(path, 'steps.jsonl'));
  expect(now.map(({ step }) => step)).toEqual(before.map(({ step }) => step));
  for (const [i, { loss }] of before.entries()) expect(now[i]!.loss).toBeCloseTo(loss, 5);
  const [history, wanted] = [path, fixture].map((folder, i) =>
    (JSON.parse(textOf(folder, i === 0 ? 'history.json' : 'expected.history.json')) as EpochEntry[]).map(
      ({ epoch, images, val_accuracy }) => ({ epoch, images, val_accuracy }),
    ),
  );
  expect(history).toEqual(wanted);
});

it('weights of 0.1.0 are read with their settings, classes and images', () => {
  const run = readRun(fixture);
  expect(run.settings).toMatchObject({ embedDim: 8, depth: 2, dropout: 0.1, scheduleSteps: 0 });
  expect(imagesOf(run)).toMatchObject({ channels: 3, height: 32, width: 32 });
  expect(imagesOf(run).classes).toContain('hourglass');
});
