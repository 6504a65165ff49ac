/** Mixup and cutmix (Zhang et al., 2018; Yun et al., 2019) as timm's Mixup(mode='batch') draws them: once a batch. */
import { Counter, stream } from '../core/rng.js';
import { type Mix, NO_BOX, NO_MIX } from '../ops/batch_plan.js';
import type { Size } from './policies.js';

export interface MixingOptions {
  /** Alphas of the Beta distributions; 0 for never. */
  readonly mixup: number;
  readonly cutmix: number;
  /** How often a batch is mixed at all, and how often by cutmix where both are on. */
  readonly probability: number;
  readonly switchProbability: number;
  /** Steps from this one on are not mixed. */
  readonly offStep: number;
}

export const mixes = ({ mixup, cutmix }: MixingOptions): boolean => mixup > 0 || cutmix > 0;

/** How the batch of a step is mixed. */
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
 * Cutmix of a batch: a box with sides of √(1 − λ) around a middle, cut off at the edges of the image, and the share of
 * what remains outside of it: timm's rand_bbox and cutmix_bbox_and_lam.
 */
export function cutMix(lambda: number, { height, width }: Size, row: number, column: number): Mix {
  const ratio = Math.sqrt(1 - lambda);
  const [top, bottom] = cutSide(Math.trunc(height * ratio), row, height);
  const [left, right] = cutSide(Math.trunc(width * ratio), column, width);
  const area = (bottom - top) * (right - left);
  return { share: 1 - area / (height * width), weight: 1, box: { top, bottom, left, right } };
}

/** An odd length has its larger half behind the middle. */
function cutSide(length: number, middle: number, side: number): [number, number] {
  const half = length >> 1;
  return [Math.max(0, middle - half), Math.min(side, middle + length - half)];
}

/** Beta(α, α) as X / (X + Y) of two Gamma(α), in logarithms: at small α both may be too small for a number. */
export function symmetricBeta(alpha: number, draw: Counter): number {
  return 1 / (1 + Math.exp(logGamma(alpha, draw) - logGamma(alpha, draw)));
}

/** The logarithm of a Gamma(α) number: Marsaglia and Tsang (2000) at α + 1, times U^(1/α). */
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
