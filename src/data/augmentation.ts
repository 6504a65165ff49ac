/**
 * The augmentation of training images. The plan of an image has a crop (shifted, or random resized), a flip, the ops of a
 * policy, and a box to erase. It depends only on the options, the seed, the step, and the image's places in the batch and in
 * the data set.
 *
 * The order is that of timm: crop and flip, policy, colour jitter, normalisation, erasing. Published CIFAR recipes for
 * small Vision Transformers use it, too, except that some flip before the crop and some apply the policy first.
 */
import { Counter, pcg4d, stream } from '../core/rng.js';
import type { Box, Frame, ImagePlan } from '../ops/batch_plan.js';
import type { Policy, Size } from './policies.js';

export interface AugmentationOptions {
  /** True for random crops and flips. */
  readonly flipCrop: boolean;
  /**
   * Alternating flips (Jordan, 2024, arXiv 2404.00498): the steps of an epoch, of micro-batches if gradients accumulate. An
   * image's flip is random in the first epoch, and the opposite of that of the epoch before in every later one. Null for a
   * random flip in every epoch.
   */
  readonly flipEpoch: number | null;
  /** True to pad crops by reflection, false to pad them with black. */
  readonly reflect: boolean;
  /**
   * Random resized crops: the smallest share of the image's area, and the largest aspect ratio. Null for shifted crops.
   */
  readonly resizedCrop: { readonly scaleMin: number; readonly ratioMax: number } | null;
  readonly policies: readonly Policy[];
  /** True for bilinear interpolation in geometric ops, false for nearest. */
  readonly bilinear: boolean;
  /** The colour that geometric ops fill in: a byte for each channel. */
  readonly fill: readonly number[];
  /** Random erasing: its probability, and true to fill the box with normal noise instead of zeros. */
  readonly erasing: { readonly probability: number; readonly noise: boolean };
}

/** The image and the step that an augmentation depends on, besides the options. */
export interface ImageKey {
  readonly seed: number;
  readonly step: number;
  /** The image's place in the batch. */
  readonly b: number;
  /** The image's place in the data set. */
  readonly record: number;
}

/** Pixels that a shifted crop may reach beyond the image: torchvision's RandomCrop(size, padding=4). */
export const PADDING = 4;

// The most random numbers that an image may take from each stream.
const DRAWS = 1024;

const drawsOf = (streamId: number, { seed, step, b }: ImageKey): Counter =>
  new Counter(seed, streamId, step, b * DRAWS);

/** The most ops that the policies together apply to an image. */
export const slotsOf = ({ policies }: AugmentationOptions): number =>
  policies.reduce((n, { slots }) => n + slots, 0);

/** True if only shifted crops, flips and normalisation are needed, which one kernel does in one pass. */
export const isPlain = (options: AugmentationOptions): boolean =>
  slotsOf(options) === 0 && options.resizedCrop === null && options.erasing.probability === 0;

/** The augmentation of an image in the batch of a step. `size` is that of the images. */
export function planImage(options: AugmentationOptions, size: Size, key: ImageKey): ImagePlan {
  const draw = drawsOf(stream.policy, key);
  return {
    frame: frameOf(options, size, key),
    ops: options.policies.flatMap((policy) => policy.choose(draw, size)),
  };
}

function frameOf(options: AugmentationOptions, size: Size, key: ImageKey): Frame {
  const { flipCrop, flipEpoch, resizedCrop, erasing } = options;
  const erase = eraseBox(drawsOf(stream.erase, key), erasing.probability, size);
  if (!flipCrop) return { flip: false, top: 0, left: 0, ...size, erase };
  // Crop and flip have their own stream, so that they do not depend on the policy.
  const [down, across, mirror] = pcg4d(key.seed, stream.augment, key.step, key.b);
  const shift = (word: number) => (word % (2 * PADDING + 1)) - PADDING;
  const window = resizedCrop
    ? resizedWindow(drawsOf(stream.resize, key), resizedCrop, size)
    : { top: shift(down), left: shift(across), ...size };
  const flip = flipEpoch === null ? mirror >>> 31 === 1 : alternatingFlip(key, flipEpoch);
  return { flip, ...window, erase };
}

/** The flip of a record in an epoch of `epoch` steps: a random bit of the record, exclusive or the epoch's parity. */
function alternatingFlip({ seed, step, record }: ImageKey, epoch: number): boolean {
  const [word] = pcg4d(seed, stream.flip, 0, record);
  return word >>> 31 !== Math.floor(step / epoch) % 2;
}

/** torchvision's RandomResizedCrop.get_params: ten tries of a random area and aspect ratio, else a center crop. */
function resizedWindow(
  draw: Counter,
  { scaleMin, ratioMax }: { scaleMin: number; ratioMax: number },
  { height: H, width: W }: Size,
): Pick<Frame, 'top' | 'left' | 'height' | 'width'> {
  for (let i = 0; i < 10; i++) {
    const area = H * W * draw.between(scaleMin, 1);
    const ratio = Math.exp(draw.between(-Math.log(ratioMax), Math.log(ratioMax)));
    const width = Math.round(Math.sqrt(area * ratio));
    const height = Math.round(Math.sqrt(area / ratio));
    if (width > 0 && width <= W && height > 0 && height <= H)
      return { top: draw.below(H - height + 1), left: draw.below(W - width + 1), height, width };
  }
  const height = Math.min(H, Math.round(W * ratioMax));
  const width = Math.min(W, Math.round(H * ratioMax));
  return { top: (H - height) >> 1, left: (W - width) >> 1, height, width };
}

const LOG_RATIO = Math.log(10 / 3);

/** timm's RandomErasing: 2 % to a third of the area, aspect ratio log-uniform in [0.3, 1/0.3], ten tries; null for no box. */
function eraseBox(draw: Counter, probability: number, { height: H, width: W }: Size): Box | null {
  if (probability === 0 || draw.uniform() >= probability) return null;
  for (let i = 0; i < 10; i++) {
    const area = H * W * draw.between(0.02, 1 / 3);
    const ratio = Math.exp(draw.between(-LOG_RATIO, LOG_RATIO));
    const height = Math.round(Math.sqrt(area * ratio));
    const width = Math.round(Math.sqrt(area / ratio));
    if (height >= H || width >= W) continue;
    const top = draw.below(H - height + 1);
    const left = draw.below(W - width + 1);
    return { top, bottom: top + height, left, right: left + width };
  }
  return null;
}
