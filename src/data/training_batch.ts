/** The batch of a training step. The host draws its plan, and the device makes the images by commands that can be recorded. */
import { stream } from '../core/rng.js';
import type { Gpu } from '../gpu/gpu.js';
import { augmentBatch, mixImages, mixTargets } from '../ops/augment.js';
import { gatherBatch, type ImageStore } from '../ops/batch.js';
import { type BatchPlan, PlanBuffer } from '../ops/batch_plan.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type AugmentationOptions, isPlain, planImage, slotsOf } from './augmentation.js';
import { drawMix, type MixingOptions, mixes } from './mixing.js';

/** The training images of a run, and the options of augmentation and mixing. */
export interface TrainingInput {
  readonly store: ImageStore;
  /** Channels, height and width of an image. */
  readonly shape: readonly [number, number, number];
  readonly classes: number;
  readonly augmentation: AugmentationOptions;
  readonly mixing: MixingOptions;
}

/** Draws the plan of a batch. It depends only on the options, the records, the seed and the step. */
export function planBatch(
  { augmentation, mixing, shape: [, height, width] }: Omit<TrainingInput, 'store'>,
  records: Uint32Array,
  seed: number,
  step: number,
): BatchPlan {
  const size = { height, width };
  return {
    ...{ seed, step, records },
    images: Array.from(records, (record, b) => planImage(augmentation, size, { seed, step, b, record })),
    mix: drawMix(mixing, size, seed, step),
  };
}

/** The tensors of a batch of `size` images, which each step fills again. */
export class TrainingBatch {
  /** Normalised images (B, C, H, W). */
  readonly images: Tensor;
  /** The classes (B) for the training accuracy. The class of a mixed image is that of its larger share. */
  readonly labels: Tensor;
  /** The targets of the loss: labels (B), or with mixup or CutMix the shares of the classes (B, K). */
  readonly targets: Tensor;
  private readonly own: Tensor;
  private readonly plan: PlanBuffer;
  private readonly plain: boolean;
  private readonly mixed: boolean;

  constructor(
    gpu: Gpu,
    readonly size: number,
    private readonly input: TrainingInput,
  ) {
    const { shape, classes, augmentation, mixing } = input;
    const zeros = (of: readonly number[], dtype: 'u32' | 'f32', label: string) =>
      keep(Tensor.zeros(gpu, of, dtype, label));
    this.plain = isPlain(augmentation);
    this.mixed = mixes(mixing);
    this.images = zeros([size, ...shape], 'f32', 'images');
    this.own = zeros([size], 'u32', 'labels');
    this.labels = this.mixed ? zeros([size], 'u32', 'labels.major') : this.own;
    this.targets = this.mixed ? zeros([size, classes], 'f32', 'targets') : this.own;
    const [, height, width] = shape;
    this.plan = new PlanBuffer(gpu, size, slotsOf(augmentation), { height, width });
  }

  /** Draws and uploads the plan for the given records, and returns it. */
  draw(records: Uint32Array, seed: number, step: number): BatchPlan {
    const plan = planBatch(this.input, records, seed, step);
    this.plan.upload(plan);
    return plan;
  }

  /** Submits the work that makes images, labels and targets from the plan. */
  gather(): void {
    const { store } = this.input;
    const { plan, images, own } = this;
    scope(() => {
      if (this.plain) {
        const { reflect } = this.input.augmentation;
        gatherBatch(store, plan.index, images, own, { frames: plan.frames, reflect });
      } else augmentBatch(store, plan, this.pixelOptions(), images, own);
      if (!this.mixed) return;
      mixImages(images, plan.header);
      mixTargets(own, plan.header, this.targets, this.labels);
    });
  }

  private pixelOptions() {
    const { reflect, resizedCrop, bilinear, fill, erasing } = this.input.augmentation;
    return {
      reflect,
      resize: resizedCrop !== null,
      bilinear,
      fill: fill.reduce((word, byte, c) => word + byte * 256 ** c, 0),
      noise: erasing.noise ? stream.noise : null,
    };
  }
}
