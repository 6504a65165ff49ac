/** Gathers a batch from the bytes of a data set on the device. */
import augmentSource from '../../kernels/augment/augment_forward.wgsl';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';

const augmentKernel = defineKernel('augment_forward', augmentSource);

/** Labelled images on the device. */
export interface ImageStore {
  /** Bytes of images first … first + count − 1, each C·H·W, in as many parts as the binding limit asks for. */
  readonly parts: readonly { readonly first: number; readonly count: number; readonly images: Tensor }[];
  /** One u32 a record. */
  readonly labels: Tensor;
  /** (2, C): 1/(255 std) and −mean/std. */
  readonly norm: Tensor;
}

/** Windows of the plan: a crop of the image's own size, and a mirror. */
export interface Crops {
  /** (B, 9): see Frame. */
  readonly frames: Tensor;
  /** Whether a window that reaches beyond the image shows its mirror image there, instead of black. */
  readonly reflect: boolean;
}

/**
 * images (B, C, H, W) and labels (B) ← the records that `index` (B) names, normalised: as they are, or cropped and mirrored.
 */
export function gatherBatch(
  store: ImageStore,
  index: Tensor,
  images: Tensor,
  labels: Tensor,
  crops?: Crops,
): void {
  const { gpu } = images;
  const [B, C, H, W] = images.shape as [number, number, number, number];
  const overrides = { FRAMED: crops !== undefined, REFLECT: crops?.reflect ?? false };
  for (const { first, count, images: bytes } of store.parts) {
    const operands = {
      ...{ images: bytes, labels: store.labels, index, norm: store.norm },
      ...{ frames: crops?.frames, y: images, label: labels },
    };
    gpu.run(augmentKernel, operands, { B, C, H, W, first, count }, B * C, { overrides });
  }
}
