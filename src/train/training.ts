/** A model made ready to train: its parameters on the device, what moves them, and the step that does. */
import type { TrainingInput } from '../data/training_batch.js';
import type { Gpu } from '../gpu/gpu.js';
import type { VisionTransformer } from '../models/vit.js';
import { Ema } from '../optim/ema.js';
import type { LossScale } from '../optim/loss_scale.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Arena } from '../tensor/arena.js';
import { buildLossScale, buildOptimizer } from './build.js';
import type { Settings } from './settings.js';
import { TrainingStep } from './step.js';

export interface Training {
  readonly arena: Arena;
  readonly optimizer: Optimizer;
  readonly ema: Ema | null;
  readonly lossScale: LossScale | null;
  readonly training: TrainingStep;
}

/** First values come from the seed; `load` may replace them before anything is made of them. */
export function buildTraining(
  gpu: Gpu,
  model: VisionTransformer,
  settings: Settings,
  input: TrainingInput,
  load: (arena: Arena) => void = () => {},
): Training {
  const { seed, emaDecay, clipGrad, labelSmoothing, batchSize, gradAccumSteps, logInterval } = settings;
  const lossScale = buildLossScale(gpu, settings);
  const { arena, optimizer } = buildOptimizer(gpu, model, settings);
  arena.initialise(model.parameters(), seed);
  load(arena);
  const ema = emaDecay > 0 ? new Ema(arena, emaDecay) : null;
  const limits = { microBatch: batchSize, accumulate: gradAccumSteps, logInterval };
  const training = new TrainingStep({
    ...{ model, arena, optimizer, ema, lossScale, input, clipGrad, labelSmoothing },
    ...limits,
  });
  return { arena, optimizer, ema, lossScale, training };
}
