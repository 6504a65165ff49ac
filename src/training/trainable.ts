/** A model ready to train: on the device, with its optimizer and its training step. */
import type { Dataset } from '../data/dataset.js';
import type { TrainingInput } from '../data/training_batch.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import { Ema } from '../optim/ema.js';
import type { LossScale } from '../optim/loss_scale.js';
import type { Optimizer } from '../optim/optimizer.js';
import { trainingInput } from '../recipe/augmentation.js';
import { buildModel } from '../recipe/model.js';
import { buildLossScale, buildOptimizer } from '../recipe/optimizer.js';
import type { Settings } from '../recipe/settings.js';
import type { Arena } from '../tensor/arena.js';
import { FiniteCheck } from './health.js';
import type { RunImages } from './images.js';
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

/** Loads weights over the initial values. It is called after these are drawn and before the EMA copies them. */
export type LoadWeights = (arena: Arena, model: Model) => void;

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

/** A Trainable that can be searched for NaN and infinity. */
export interface Checked extends Trainable {
  /** Checks the parameters and the optimizer's moments. */
  readonly finite: FiniteCheck;
}

/** Puts the model of the settings on the device, to train on the images of a run. The caller owns the tensors. */
export function makeChecked(
  gpu: Gpu,
  settings: Settings,
  dataset: Dataset,
  { store, sampler }: Pick<RunImages, 'store' | 'sampler'>,
  load?: LoadWeights,
): Checked {
  const model = buildModel(settings, dataset);
  const input = trainingInput(settings, dataset, store, sampler.batches * settings.gradAccumSteps);
  const trainable = makeTrainable(gpu, model, settings, input, load);
  const parameter = { layout: trainable.arena, tensor: trainable.arena.values };
  return { ...trainable, finite: new FiniteCheck(gpu, { parameter, ...trainable.optimizer.state }) };
}
