/**
 * What happens to the images of a training batch: for each a window of its record (a shifted crop, or one of random size
 * and proportions), a mirror, the ops of a policy, and in the end an erased box. All of it is a function of the options,
 * the seed, the step and the image's place in the batch.
 *
 * The order is crop and mirror, policy, colour jitter, normalisation, erasing: timm's, and that of the published
 * CIFAR recipes for small Vision Transformers, of which some mirror first and some apply the policy first.
 */
import { Counter, pcg4d, stream } from '../core/rng.js';
import type { Box, Frame, ImagePlan } from '../ops/batch_plan.js';
import type { Policy, Size } from './policies.js';

export interface AugmentationOptions {
  /** Whether images are cropped and mirrored at random. */
  readonly flipCrop: boolean;
  /** What crops show beyond the image: its mirror image, instead of black. */
  readonly reflect: boolean;
  /** Random resized crops instead of shifted ones: the least share of the area, and the widest proportions; or null. */
  readonly resizedCrop: { readonly scaleMin: number; readonly ratioMax: number } | null;
  readonly policies: readonly Policy[];
  readonly bilinear: boolean;
  /** A byte for each channel: what geometric ops uncover. */
  readonly fill: readonly number[];
  /** The probability of random erasing, and whether it leaves normal noise instead of zeros. */
  readonly erasing: { readonly probability: number; readonly noise: boolean };
}

/** Pixels that a shifted crop may reach beyond the image: torchvision's RandomCrop(size, padding=4). */
export const PADDING = 4;

// Draws that an image may make of each stream.
const DRAWS = 1024;

const drawsOf = (streamId: number, seed: number, step: number, b: number): Counter =>
  new Counter(seed, streamId, step, b * DRAWS);

/** The most ops that an image goes through. */
export const slotsOf = ({ policies }: AugmentationOptions): number =>
  policies.reduce((n, { slots }) => n + slots, 0);

/** Whether a crop, a mirror and normalisation are all, which one kernel does in one pass. */
export const isPlain = (options: AugmentationOptions): boolean =>
  slotsOf(options) === 0 && options.resizedCrop === null && options.erasing.probability === 0;

/** What happens to image b of the batch of a step. */
export function planImage(
  options: AugmentationOptions,
  size: Size,
  seed: number,
  step: number,
  b: number,
): ImagePlan {
  const draw = drawsOf(stream.policy, seed, step, b);
  return {
    frame: frameOf(options, size, seed, step, b),
    ops: options.policies.flatMap((policy) => policy.choose(draw, size)),
  };
}

function frameOf(
  { flipCrop, resizedCrop, erasing }: AugmentationOptions,
  size: Size,
  seed: number,
  step: number,
  b: number,
): Frame {
  const erase = eraseBox(drawsOf(stream.erase, seed, step, b), erasing.probability, size);
  if (!flipCrop) return { flip: false, top: 0, left: 0, ...size, erase };
  // Crop and mirror have a stream of their own, so that they are the same whatever the policy draws.
  const [down, across, mirror] = pcg4d(seed, stream.augment, step, b);
  const shift = (word: number) => (word % (2 * PADDING + 1)) - PADDING;
  const window = resizedCrop
    ? resizedWindow(drawsOf(stream.resize, seed, step, b), resizedCrop, size)
    : { top: shift(down), left: shift(across), ...size };
  return { flip: mirror >>> 31 === 1, ...window, erase };
}

/** torchvision's RandomResizedCrop.get_params: area and proportions (log-uniform) in ten tries, else the middle. */
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

const MOST_TILTED = Math.log(10 / 3);

/** timm's RandomErasing: 2 % to a third of the area, proportions 0.3 to 1/0.3 log-uniform, in ten tries. */
function eraseBox(draw: Counter, probability: number, { height: H, width: W }: Size): Box | null {
  if (probability === 0 || draw.uniform() >= probability) return null;
  for (let i = 0; i < 10; i++) {
    const area = H * W * draw.between(0.02, 1 / 3);
    const ratio = Math.exp(draw.between(-MOST_TILTED, MOST_TILTED));
    const height = Math.round(Math.sqrt(area * ratio));
    const width = Math.round(Math.sqrt(area / ratio));
    if (height >= H || width >= W) continue;
    const top = draw.below(H - height + 1);
    const left = draw.below(W - width + 1);
    return { top, bottom: top + height, left, right: left + width };
  }
  return null;
}
