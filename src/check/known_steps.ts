/** The kernels of training steps on an adapter that need not be there: the steps run on a device that only counts memory. */
import { LimitError, OutOfMemoryError } from '../core/errors.js';
import type { Dataset, Split } from '../data/dataset.js';
import type { Dispatched } from '../gpu/diagnostics.js';
import { Gpu } from '../gpu/gpu.js';
import { infoOf, type KnownAdapter } from '../gpu/known_adapters.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { setup } from '../training/setup.js';

export interface PickedModel {
  readonly name: string;
  readonly imageSize: number;
  readonly settings: Pick<Settings, 'embedDim' | 'depth' | 'numHeads' | 'patchSize'>;
  /** Images of a step, on a CPU and on a GPU. */
  readonly batch: { readonly cpu: number; readonly gpu: number };
}

export const pickedModels: readonly PickedModel[] = [
  {
    name: 'ViT-Tiny',
    imageSize: 32,
    settings: { embedDim: 192, depth: 12, numHeads: 3, patchSize: 4 },
    batch: { cpu: 64, gpu: 512 },
  },
  {
    name: 'ViT-S',
    imageSize: 32,
    settings: { embedDim: 384, depth: 12, numHeads: 6, patchSize: 4 },
    batch: { cpu: 64, gpu: 256 },
  },
  {
    name: 'ViT-B/16',
    imageSize: 224,
    settings: { embedDim: 768, depth: 12, numHeads: 12, patchSize: 16 },
    batch: { cpu: 64, gpu: 64 },
  },
];

const PRECISIONS = ['float32', '--amp'] as const;
export type Precision = (typeof PRECISIONS)[number];

/** The dispatches of a training step. */
export interface StepKernels {
  readonly model: PickedModel;
  readonly precision: Precision;
  readonly batch: number;
  /** Why the batch is smaller than the model's. */
  readonly limit: string | null;
  readonly dispatched: readonly Dispatched[];
}

/** Black images of one class. */
function blank(size: number): Dataset {
  const count = 4;
  const images = new Uint8Array(count * 3 * size * size);
  const split: Split = { images, labels: new Uint8Array(count), count };
  const channels = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
  const format = { channels: 3, height: size, width: size, classes: Array.from({ length: 10 }, String) };
  return { name: 'blank', ...format, ...channels, load: async () => split };
}

/** The dispatches of the first step of a run, or why the adapter's limits do not allow the step. */
async function stepOf(
  known: KnownAdapter,
  model: PickedModel,
  settings: Settings,
): Promise<Dispatched[] | string> {
  const gpu = Gpu.dry(infoOf(known), known.limits);
  const dispatched: Dispatched[] = [];
  gpu.diagnostics.onDispatch = (it) => dispatched.push(it);
  try {
    const { step, optimizer } = await setup(gpu, settings, blank(model.imageSize));
    const values = { seed: 0, step: 0, lr: 0, ...optimizer.corrections(0, 1), emaDecay: 0 };
    step.run(new Uint32Array(settings.batchSize), values);
    return dispatched;
  } catch (error) {
    if (error instanceof LimitError || error instanceof OutOfMemoryError) return error.message;
    throw error;
  }
}

/**
 * Training steps in float32 and, where there is f16, in mixed precision, with the largest batch up to the model's that the
 * limits allow.
 */
export async function stepKernels(known: KnownAdapter, model: PickedModel): Promise<StepKernels[]> {
  const steps: StepKernels[] = [];
  for (const precision of PRECISIONS) {
    if (precision === '--amp' && !known.features.includes('shader-f16')) continue; // refused there
    let batch = known.software ? model.batch.cpu : model.batch.gpu;
    let limit: string | null = null;
    for (;;) {
      const settings = resolveSettings({ ...model.settings, amp: precision === '--amp', batchSize: batch });
      const dispatched = await stepOf(known, model, settings);
      if (typeof dispatched !== 'string') {
        steps.push({ model, precision, batch, limit, dispatched });
        break;
      }
      limit ??= dispatched;
      if (batch === 1) {
        steps.push({ model, precision, batch: 0, limit, dispatched: [] });
        break;
      }
      batch = Math.floor(batch / 2);
    }
  }
  return steps;
}
