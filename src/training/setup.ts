/** From settings to the parts of a run: data on the device, model, parameter arena, optimizer and training step. */
import { ConfigError } from '../core/errors.js';
import type { Dataset, Split } from '../data/dataset.js';
import { Sampler, type SplitIndices, splitIndices } from '../data/sampler.js';
import { uploadSplit } from '../data/store.js';
import type { TrainingInput } from '../data/training_batch.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import type { ImageStore } from '../ops/batch.js';
import { Ema } from '../optim/ema.js';
import type { LossScale } from '../optim/loss_scale.js';
import type { Optimizer } from '../optim/optimizer.js';
import { trainingInput } from '../recipe/augmentation.js';
import { buildModel } from '../recipe/model.js';
import { buildLossScale, buildOptimizer } from '../recipe/optimizer.js';
import type { Settings } from '../recipe/settings.js';
import type { Arena } from '../tensor/arena.js';
import { owned } from '../tensor/scope.js';
import { FiniteCheck } from './health.js';
import { initialiseFromImages } from './image_init.js';
import { TrainingStep } from './step.js';

/** A model on the device, its optimizer, and its training step. */
export interface Trainable {
  readonly gpu: Gpu;
  readonly settings: Settings;
  readonly model: Model;
  readonly arena: Arena;
  readonly optimizer: Optimizer;
  readonly ema: Ema | null;
  readonly lossScale: LossScale | null;
  readonly step: TrainingStep;
}

/** The images for evaluation: `records` are indices into the split, which is on the host and on the device. */
export interface Validation {
  readonly store: ImageStore;
  readonly records: Uint32Array;
  readonly split: Split;
  /** `test`, or `validation` if training images are held out. */
  readonly name: string;
}

/** Everything that `fit` needs. */
export interface Training extends Trainable {
  readonly dataset: Dataset;
  readonly sampler: Sampler;
  readonly validation: Validation;
  /** Checks the parameters and the optimizer's moments for NaN and infinity. */
  readonly finite: FiniteCheck;
  /** Releases its device memory. */
  release(): void;
}

/** Writes weights over the initial values. It is called after these are drawn and before the EMA copies them. */
export type LoadWeights = (arena: Arena, model: Model) => void;

/**
 * Builds the model, reads the data, and puts both on the device. Initial weights are drawn by the seed of the settings, and
 * a model may compute some of them from images. `load` is for weights that come from elsewhere: where it is given, nothing
 * is computed from images. Throws a ConfigError if the settings do not fit the data set or the adapter, and an
 * OutOfMemoryError.
 */
export async function setup(
  gpu: Gpu,
  settings: Settings,
  dataset: Dataset,
  load?: LoadWeights,
): Promise<Training> {
  const model = buildModel(settings, dataset);
  const train = await dataset.load('train');
  const test = await dataset.load('test');
  const { made, release } = owned(() => {
    const { train: records, validation: held } = recordsOf(settings, train.count);
    const upload = (split: Split) => uploadSplit(gpu, dataset, split, settings.normalize);
    const store = upload(train);
    const validation =
      held.length > 0
        ? { store, records: held, split: train, name: 'validation' }
        : { store: upload(test), records: everyRecord(test), split: test, name: 'test' };
    const { batchSize, gradAccumSteps, shuffle, seed } = settings;
    const sampler = new Sampler(records, batchSize * gradAccumSteps, { shuffle, seed });
    const input = trainingInput(settings, dataset, store, sampler.batches * gradAccumSteps);
    const computed = initialiseFromImages({ dataset, split: train, records }, settings);
    const trainable = makeTrainable(gpu, model, settings, input, load ?? computed);
    const { arena, optimizer } = trainable;
    const finite = new FiniteCheck(gpu, {
      parameter: { layout: arena, tensor: arena.values },
      ...optimizer.state,
    });
    return { ...trainable, ...{ dataset, sampler, validation, finite } };
  });
  return {
    ...made,
    release: () => {
      made.step.release();
      release();
    },
  };
}

/** Puts a model on the device, with its optimizer and training step. The caller owns the tensors. */
export function makeTrainable(
  gpu: Gpu,
  model: Model,
  settings: Settings,
  input: TrainingInput,
  load: LoadWeights = () => {},
): Trainable {
  const { seed, emaDecay, clipGrad, labelSmoothing, batchSize, gradAccumSteps, logInterval } = settings;
  const lossScale = buildLossScale(gpu, settings);
  const { arena, optimizer } = buildOptimizer(gpu, model, settings);
  if (!gpu.dry) arena.initialise(model.parameters(), seed); // drawing numbers would be most of the time of a dry run
  load(arena, model);
  const ema = emaDecay > 0 ? new Ema(arena, emaDecay) : null;
  const step = new TrainingStep({
    ...{ model, arena, optimizer, ema, lossScale, input, clipGrad, labelSmoothing },
    ...{ microBatch: batchSize, accumulate: gradAccumSteps, logInterval },
  });
  return { gpu, settings, model, arena, optimizer, ema, lossScale, step };
}

/** Divides `count` training images into those to train on and those held out. Throws a ConfigError if none are left. */
function recordsOf({ limitTrain, valSplit, seed }: Settings, count: number): SplitIndices {
  const used = limitTrain > 0 ? Math.min(limitTrain, count) : count;
  if (valSplit >= used)
    throw new ConfigError(
      `--val-split ${valSplit} leaves no training images: ${used < count ? `--limit-train leaves ${used} of ${count}` : `the data set has ${count}`}. Use a smaller split.`,
    );
  return splitIndices(used, valSplit, seed);
}

const everyRecord = ({ count }: Split): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i);
