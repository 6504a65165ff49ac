/** Mixup and CutMix (Zhang et al., 2018; Yun et al., 2019) as timm's Mixup(mode='batch'): one draw for the whole batch. */
import { Counter, stream } from '../core/rng.js';
import { type Mix, NO_BOX, NO_MIX } from '../ops/batch_plan.js';
import type { Size } from './policies.js';

export interface MixingOptions {
  /** Alpha of mixup's Beta distribution; 0 disables mixup. */
  readonly mixup: number;
  /** Alpha of CutMix's Beta distribution; 0 disables CutMix. */
  readonly cutmix: number;
  /** The probability that a batch is mixed. */
  readonly probability: number;
  /** The probability of CutMix if mixup is enabled, too. */
  readonly switchProbability: number;
  /** The first step that is not mixed; later ones are not mixed either. */
  readonly offStep: number;
}

/** True if mixup or CutMix is enabled. */
export const mixes = ({ mixup, cutmix }: MixingOptions): boolean => mixup > 0 || cutmix > 0;

/** Draws the mix of the batch of a step. */
export function drawMix(options: MixingOptions, { height, width }: Size, seed: number, step: number): Mix {
  const { mixup, cutmix, probability, switchProbability, offStep } = options;
  const draw = new Counter(seed, stream.mix, step);
  if (!mixes(options) || step >= offStep || draw.uniform() >= probability) return NO_MIX;
  const cuts = cutmix > 0 && (mixup === 0 || draw.uniform() < switchProbability);
  const lambda = symmetricBeta(cuts ? cutmix : mixup, draw);
  if (!cuts) return { share: lambda, weight: lambda, box: NO_BOX };
  return cutMix(lambda, { height, width }, draw.below(height), draw.below(width));
}

/**
 * CutMix of a batch: a box with sides √(1 − λ) times those of the image, around (row, column) and clipped to the image.
 * `share` is the area outside of the clipped box. timm's rand_bbox and cutmix_bbox_and_lam.
 */
export function cutMix(lambda: number, { height, width }: Size, row: number, column: number): Mix {
  const ratio = Math.sqrt(1 - lambda);
  const [top, bottom] = cutSide(Math.trunc(height * ratio), row, height);
  const [left, right] = cutSide(Math.trunc(width * ratio), column, width);
  const area = (bottom - top) * (right - left);
  return { share: 1 - area / (height * width), weight: 1, box: { top, bottom, left, right } };
}

/** First and last pixel (exclusive) of a side. An odd length has its larger half after the middle. */
function cutSide(length: number, middle: number, side: number): [number, number] {
  const half = length >> 1;
  return [Math.max(0, middle - half), Math.min(side, middle + length - half)];
}

/** A Beta(α, α) number: X / (X + Y) of two Gamma(α) numbers, in logarithms because both may underflow at small α. */
export function symmetricBeta(alpha: number, draw: Counter): number {
  return 1 / (1 + Math.exp(logGamma(alpha, draw) - logGamma(alpha, draw)));
}

/** The logarithm of a Gamma(α) number: a Gamma(α + 1) number by Marsaglia and Tsang (2000), times U^(1/α). */
function logGamma(alpha: number, draw: Counter): number {
  const d = alpha + 2 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = draw.normal();
    const v = (1 + c * x) ** 3;
    const u = 1 - draw.uniform();
    if (v > 0 && Math.log(u) < 0.5 * x * x + d - d * v + d * Math.log(v))
      return Math.log(d * v) + Math.log(1 - draw.uniform()) / alpha;
  }
}
