/** The device memory of training steps, known before any work: the steps run on a device that only counts memory. */
import { LimitError, OutOfMemoryError } from '../core/errors.js';
import type { Dataset } from '../data/dataset.js';
import type { Gpu } from '../gpu/gpu.js';
import { formatBytes } from '../gpu/memory.js';
import type { Specialised } from '../gpu/pipeline.js';
import { phasesOf } from '../recipe/phases.js';
import type { Settings } from '../recipe/settings.js';
import { owned } from '../tensor/scope.js';
import { loadSplits, placeImages, type Splits } from './images.js';
import type { PlannedPhase, StepFlops } from './plan.js';
import { makeChecked } from './trainable.js';

/** The needs of training steps: memory, kernels and operations. */
export interface StepMemory {
  /** The most device memory at one time, in bytes: weights, optimizer, data set, activations, gradients, textures. */
  readonly bytes: number;
  /** The number of training images. */
  readonly images: number;
  /** The kernels of the steps, for `gpu.prepare`. */
  readonly kernels: readonly Specialised[];
  /** The phases of the run, with the floating-point operations of their steps. */
  readonly phases: readonly PlannedPhase[];
}

/**
 * The memory of the steps of an epoch: of whole batches and of a smaller last one, in the phase that takes most. Evaluation is
 * not part of it, and uses smaller batches where memory is short. Throws an OutOfMemoryError or a LimitError if the
 * adapter or `budgetBytes` does not allow the steps.
 */
export async function stepMemory(
  gpu: Gpu,
  settings: Settings,
  dataset: Dataset,
  budgetBytes = Number.POSITIVE_INFINITY,
): Promise<StepMemory> {
  const splits = await loadSplits(dataset);
  const all = phasesOf(settings).map((phase) => {
    const dry = gpu.dryRun(budgetBytes);
    const { images, flops } = drySteps(dry, phase.settings, dataset, splits);
    return { images, bytes: dry.memory.peakBytes, kernels: dry.kernels, phase: { ...phase, flops } };
  });
  return {
    bytes: Math.max(...all.map(({ bytes }) => bytes)),
    images: (all[0] as { images: number }).images,
    kernels: all.flatMap(({ kernels }) => kernels),
    phases: all.map(({ phase }) => phase),
  };
}

/** Runs a step of each batch size on a dry device. */
function drySteps(
  dry: Gpu,
  settings: Settings,
  dataset: Dataset,
  splits: Splits,
): { images: number; flops: StepFlops } {
  const { made } = owned(() => {
    const images = placeImages(dry, settings, dataset, splits);
    return { ...images, ...makeChecked(dry, settings, dataset, images) };
  });
  const { sampler, step, optimizer } = made;
  const values = { seed: 0, step: 0, lr: 0, ...optimizer.corrections(0, 1), emaDecay: 0 };
  const cost = (size: number) => {
    const before = dry.flops;
    step.run(new Uint32Array(size), values);
    return dry.flops - before;
  };
  const { count, batchSize } = sampler;
  const whole = cost(Math.min(count, batchSize));
  const rest = count % batchSize;
  return { images: count, flops: { whole, last: rest > 0 && count > batchSize ? cost(rest) : whole } };
}

/** The same within the budget of `gpu`. Throws an OutOfMemoryError with a remedy if the steps need more. */
export async function demandStepMemory(gpu: Gpu, settings: Settings, dataset: Dataset): Promise<StepMemory> {
  const { budgetBytes } = gpu.memory;
  const needed = await stepMemory(gpu, settings, dataset);
  if (needed.bytes <= budgetBytes) return needed;
  try {
    return await stepMemory(gpu, settings, dataset, budgetBytes); // free buffers are given back where memory is short
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    throw new OutOfMemoryError(
      `Training with a batch size of ${settings.batchSize} needs ${formatBytes(needed.bytes)} of device memory; the budget is ${formatBytes(budgetBytes)}. Use ${(await remedies(gpu, settings, dataset)).join(' or ')}.`,
    );
  }
}

/** The changes that make the steps fit the budget of `gpu`. */
async function remedies(gpu: Gpu, settings: Settings, dataset: Dataset): Promise<string[]> {
  const largest = await largestBatchSize(gpu, settings, dataset, settings.batchSize / 2);
  const checkpointing = { ...settings, gradCheckpointing: true };
  // A model without blocks has no such setting.
  const less =
    settings.gradCheckpointing === false &&
    (await stepMemory(gpu, checkpointing, dataset)).bytes <= gpu.memory.budgetBytes;
  return [
    ...(largest > 0 ? [`--batch-size ${largest}`] : []),
    ...(less ? ['--grad-checkpointing'] : []),
    'a larger --memory-budget',
  ];
}

/**
 * The largest power of two, up to `most`, that the budget and the limits of `gpu` allow as the batch size; at most the
 * first that holds all training images, and 0 if even 1 is too large.
 */
export async function largestBatchSize(
  gpu: Gpu,
  settings: Settings,
  dataset: Dataset,
  most = Number.POSITIVE_INFINITY,
): Promise<number> {
  let largest = 0;
  for (let batchSize = 1; batchSize <= most; batchSize *= 2) {
    try {
      const { bytes, images } = await stepMemory(gpu, { ...settings, batchSize }, dataset);
      if (bytes > gpu.memory.budgetBytes) break;
      largest = batchSize;
      if (batchSize >= images) break;
    } catch (error) {
      if (error instanceof OutOfMemoryError || error instanceof LimitError) break;
      throw error;
    }
  }
  return largest;
}
