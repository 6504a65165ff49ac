/** The cost of a sweep, at most. */
import type { Stage } from './rungs.js';

/** The backward pass of a product is two products of the size of the forward one. */
const TRAINING_OVER_FORWARD = 3;

/** About what an epoch costs, from the millions of operations of one image's forward pass. */
export const flopsOfEpoch = (mflops: number, images: number): number =>
  TRAINING_OVER_FORWARD * 1e6 * mflops * images;

export interface Cost {
  readonly runs: number;
  /** Floating-point operations that the runs can take together; null without --max-flops. */
  readonly flops: number | null;
}

/** The most that a stage costs, whichever configurations it trains. */
export function costOf({ configurations, seeds, runs }: Stage): Cost {
  const most = configurations * seeds;
  const limits = runs.map(({ settings }) => settings.maxFlops).sort((a, b) => b - a);
  const known = limits.every((limit) => limit > 0);
  return {
    runs: most,
    flops: known ? limits.slice(0, most).reduce((sum, limit) => sum + limit, 0) : null,
  };
}
