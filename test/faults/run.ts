/** Runs for the fault tests: as small as possible, with everything random on. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Gpu } from '../../src/gpu/gpu.js';
import { decodeSafetensors } from '../../src/io/safetensors.js';
import { resolveSettings, type Settings } from '../../src/recipe/settings.js';
import type { Reporter } from '../../src/runs/reporter.js';
import { RunDirectory } from '../../src/runs/run_directory.js';
import type { TrainerInput } from '../../src/runs/trainer.js';
import type { EpochEntry, StepEntry } from '../../src/training/progress.js';
import { images } from '../images.js';

/** 50 images in batches of 20: two steps, and one of 10. */
export const few = images({ train: 50, test: 20 });

export const tiny: Settings = resolveSettings({
  ...{ embedDim: 16, depth: 1, numHeads: 2, mlpRatio: 2, patchSize: 16, batchSize: 20, epochs: 3 },
  ...{
    logInterval: 1,
    clipGrad: 1,
    dropout: 0.1,
    dropPath: 0.1,
    mixup: 0.8,
    emaDecay: 0.99,
    warmupEpochs: 0.5,
  },
});

export const silent: Reporter = { start() {}, step() {}, epoch() {}, note() {} };

/** The input of a trainer that trains into the folder `path`, or resumes there. */
export function trainerInput(gpu: Gpu, path: string, more: Partial<TrainerInput> = {}): TrainerInput {
  const resume = more.resume !== undefined;
  const run = RunDirectory.open(path, { resume });
  return { gpu, settings: tiny, dataset: few, run, reporter: silent, environment: {}, ...more };
}

const text = (path: string, name: string): string => {
  const file = join(path, name);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
};

export const statePath = (path: string): string => join(path, 'checkpoints', 'last.state.safetensors');

/** The logged steps without their speed, the only figure that differs between equal runs. */
export const steps = (path: string): Partial<StepEntry>[] =>
  text(path, 'steps.jsonl')
    .split('\n')
    .filter(Boolean)
    .map((line) => {
      const { images_per_second: _, ...rest } = JSON.parse(line) as StepEntry;
      return rest;
    });

/** Everything in a run's folder that its settings determine: tensors of the last state and weights, and logs. */
export function results(path: string) {
  const tensors = (name: string) => {
    const file = join(path, 'checkpoints', name);
    return decodeSafetensors(file, readFileSync(file)).tensors;
  };
  const history = (JSON.parse(text(path, 'history.json')) as EpochEntry[]).map(
    ({ seconds: _, ...rest }) => rest,
  );
  const names = ['last.state.safetensors', 'best.safetensors', 'final.safetensors', 'final.ema.safetensors'];
  return {
    steps: steps(path),
    history,
    tensors: names
      .filter((name) => existsSync(join(path, 'checkpoints', name)))
      .map((name) => [name, tensors(name)]),
  };
}
