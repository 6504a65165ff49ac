/** A batch from the bytes of a data set on the device, and the record of what a step came to. */
import augmentSource from '../../kernels/augment/augment_forward.wgsl';
import metricsSource from '../../kernels/optimizer/metrics_step.wgsl';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';

const augmentKernel = defineKernel('augment_forward', augmentSource);
const metricsKernel = defineKernel('metrics_step', metricsSource);

export interface ImageStore {
  /** Bytes of images first … first + count − 1, each C·H·W, in as many parts as the binding limit asks for. */
  readonly parts: readonly { readonly first: number; readonly count: number; readonly images: Tensor }[];
  /** One u32 a record. */
  readonly labels: Tensor;
  /** (2, C): 1/(255 std) and −mean/std. */
  readonly norm: Tensor;
}

export interface Augmentation {
  /** Pixels added on each side before a random crop of the image's own size; 0 for none. */
  readonly pad: number;
  /** Whether they mirror the image about its edge pixels, instead of being black. */
  readonly reflect: boolean;
  /** Whether half of the images are mirrored. */
  readonly flip: boolean;
  readonly stream: number;
}

/** images (B, C, H, W) and labels (B) ← the records that `index` names, augmented by the draws of `step`, normalised. */
export function gatherBatch(
  store: ImageStore,
  index: Tensor,
  step: Tensor,
  { pad, reflect, flip, stream }: Augmentation,
  images: Tensor,
  labels: Tensor,
): void {
  const [B, C, H, W] = images.shape as [number, number, number, number];
  for (const { first, count, images: bytes } of store.parts) {
    const operands = {
      images: bytes,
      labels: store.labels,
      index,
      norm: store.norm,
      step,
      y: images,
      label: labels,
    };
    const params = { B, C, H, W, first, count, stream };
    images.gpu.run(augmentKernel, operands, params, B * C, {
      overrides: { PAD: pad, FLIP: flip, REFLECT: reflect },
    });
  }
}

/** Words of a row of the metrics ring: loss, correct, gradient norm, the first index of a gradient that is not finite. */
export const METRICS = 4;

/** Writes the row of the ring that `step` names; `first` as findNonFinite leaves it. */
export function recordMetrics(
  operands: {
    readonly loss: Tensor;
    readonly correct: Tensor;
    readonly clip: Tensor;
    readonly first: Tensor;
    readonly step: Tensor;
  },
  metrics: Tensor,
): void {
  metrics.gpu.run(metricsKernel, { ...operands, metrics }, { count: operands.first.size }, 1);
}
