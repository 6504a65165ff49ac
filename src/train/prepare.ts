/** From settings to the parts of a run: data on the device, model, arena, optimizer, the recorded step, the schedule. */
import { ConfigError } from '../core/errors.js';
import { Sampler, type SplitIndices, splitIndices } from '../data/sampler.js';
import type { Dataset, Split } from '../data/sources.js';
import { uploadSplit } from '../data/store.js';
import type { Gpu } from '../gpu/gpu.js';
import { VisionTransformer } from '../models/vit.js';
import type { ImageStore } from '../ops/batch.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import type { Arena } from '../tensor/arena.js';
import { type Owned, owned } from '../tensor/scope.js';
import { trainingInput } from './augmentation.js';
import { modelOptions } from './build.js';
import { loadInit } from './checkpoint.js';
import { type Fingerprint, fingerprint } from './fingerprint.js';
import { FiniteCheck } from './health.js';
import type { Reporter } from './journal.js';
import type { RunDirectory } from './run_directory.js';
import type { Settings } from './settings.js';

import { buildTraining, type Training } from './training.js';

export interface TrainerInput {
  readonly gpu: Gpu;
  readonly settings: Settings;
  readonly dataset: Dataset;
  readonly run: RunDirectory;
  readonly reporter: Reporter;
  /** What config.json and checkpoints record besides the settings: version, adapter, driver. */
  readonly environment: Readonly<Record<string, unknown>>;
  readonly init?: string | undefined;
  readonly resume?: string | undefined;
  /** Called for every step, from 1, when the device has been asked for it. */
  readonly onStep?: ((step: number) => void) | undefined;
}

/** What judges the weights. */
export interface Validation {
  readonly store: ImageStore;
  readonly records: Uint32Array;
  readonly split: Split;
  /** `test`, or `validation` when images are held out for it. */
  readonly name: string;
}

export interface TrainerParts extends Training {
  readonly model: VisionTransformer;
  readonly sampler: Sampler;
  readonly validation: Validation;
  readonly finite: FiniteCheck;
  readonly fingerprint: Fingerprint;
}

/** Reads the data, builds the model, loads --init. The model's shape is checked before any of it. */
export async function prepareParts(input: TrainerInput): Promise<Owned<TrainerParts>> {
  const { settings, dataset } = input;
  const model = new VisionTransformer(modelOptions(settings, dataset));
  const train = await dataset.load('train');
  const test = await dataset.load('test');
  return owned(() => partsOn(input, model, train, test));
}

/** What of it is on the device. */
function partsOn(input: TrainerInput, model: VisionTransformer, train: Split, test: Split): TrainerParts {
  const { gpu, settings, dataset } = input;
  const { train: records, validation: held } = recordsOf(settings, train.count);
  const weights = (arena: Arena) => {
    const note = input.init && loadInit(input.init, arena);
    if (note) input.reporter.note(note);
  };
  const store = uploadSplit(gpu, dataset, train, settings.normalize);
  const validation =
    held.length > 0
      ? { store, records: held, split: train, name: 'validation' }
      : {
          store: uploadSplit(gpu, dataset, test, settings.normalize),
          records: everyRecord(test),
          split: test,
          name: 'test',
        };
  const sampler = new Sampler(records, settings.batchSize * settings.gradAccumSteps, {
    shuffle: settings.shuffle,
    seed: settings.seed,
  });
  const batches = sampler.batches * settings.gradAccumSteps;
  const images = trainingInput(settings, dataset, store, batches);
  const built = buildTraining(gpu, model, settings, images, weights);
  const { arena, optimizer } = built;
  const parameter = { layout: arena, tensor: arena.values };
  const finite = new FiniteCheck(gpu, { parameter, ...optimizer.state });
  const data = fingerprint(dataset, train);
  return {
    ...built,
    ...{ model, sampler, validation, finite },
    fingerprint: data,
  };
}

/** The images to train on and those held out, of `count` training images. A ConfigError where none would be left. */
function recordsOf({ limitTrain, valSplit, seed }: Settings, count: number): SplitIndices {
  const used = limitTrain > 0 ? Math.min(limitTrain, count) : count;
  if (valSplit >= used)
    throw new ConfigError(
      `--val-split ${valSplit} leaves no training images: ${used < count ? `--limit-train leaves ${used} of ${count}` : `the data set has ${count}`}. Use a smaller split.`,
    );
  return splitIndices(used, valSplit, seed);
}

/** `batches` is steps an epoch. A ConfigError where the warm-up would outlast the schedule. */
export function scheduleOf(settings: Settings, batches: number): Schedule {
  const warmupSteps = Math.round(settings.warmupEpochs * batches);
  const totalSteps = settings.scheduleSteps || settings.epochs * batches;
  if (settings.scheduleSteps > 0 && warmupSteps >= totalSteps)
    throw new ConfigError(
      `--warmup-epochs ${settings.warmupEpochs} are ${warmupSteps} steps, which must be fewer than --schedule-steps ${totalSteps}.`,
    );
  return {
    kind: settings.schedule,
    lr: settings.learningRate,
    warmupLr: settings.warmupLr,
    minLr: settings.minLr,
    warmupSteps,
    totalSteps,
  };
}

/** Of the way from the peak rate down to the floor: a run that ends higher was hardly meant to. */
const HIGH = 0.1;

/** A sentence where a run of so many steps ends with a learning rate far above the floor of its schedule; else null. */
export function endsHigh(schedule: Schedule, steps: number): string | null {
  const { lr, totalSteps } = schedule;
  const [end, floor] = [learningRate(schedule, steps - 1), learningRate(schedule, totalSteps)];
  if (steps >= totalSteps || end - floor <= HIGH * (lr - floor)) return null;
  return (
    `The run ends after ${steps} of the ${totalSteps} steps of its schedule, at a learning rate of ${Number(end.toPrecision(3))} ` +
    `instead of ${Number(floor.toPrecision(3))}; --schedule-steps ${steps} makes both end together.`
  );
}

const everyRecord = ({ count }: Split): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i);
