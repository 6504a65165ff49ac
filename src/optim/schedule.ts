/** Learning rates, per step: pure functions of how many steps are done. */

export interface Schedule {
  readonly kind: 'cosine' | 'constant' | 'one-cycle';
  /** The rate after warm-up; the highest of one cycle. */
  readonly lr: number;
  readonly warmupLr: number;
  readonly minLr: number;
  readonly warmupSteps: number;
  /** All steps, warm-up included. */
  readonly totalSteps: number;
}

/** OneCycleLR's defaults: where the rate is highest, lr over the first rate, the first rate over the last. */
const ONE_CYCLE = { rise: 0.3, divide: 25, finalDivide: 1e4 } as const;

/** Half a cosine from one rate to another; `progress` from 0 to 1, and 1 beyond. */
const anneal = (from: number, to: number, progress: number): number =>
  to + 0.5 * (from - to) * (1 + Math.cos(Math.PI * Math.min(1, progress)));

/**
 * torch.optim.lr_scheduler.OneCycleLR (Smith and Topin, 2019), two phases by cosines: from lr/25 up to lr over 30 % of
 * the steps, then down to lr/250000 at the last one. The betas are not cycled.
 */
function oneCycle({ lr, totalSteps }: Schedule, done: number): number {
  const first = lr / ONE_CYCLE.divide;
  const peak = ONE_CYCLE.rise * totalSteps - 1;
  if (done <= peak) return anneal(first, lr, done / peak);
  return anneal(lr, first / ONE_CYCLE.finalDivide, (done - peak) / (totalSteps - 1 - peak));
}

/**
 * The rate for the step after `done` steps: linear from warmupLr to lr over the warm-up, then constant, or half a
 * cosine down to minLr, as torch.optim.lr_scheduler's LinearLR followed by CosineAnnealingLR; or one cycle, which has a
 * warm-up and a last rate of its own.
 */
export function learningRate(schedule: Schedule, done: number): number {
  const { kind, lr, warmupLr, minLr, warmupSteps, totalSteps } = schedule;
  if (kind === 'one-cycle') return oneCycle(schedule, done);
  if (done < warmupSteps) return warmupLr + ((lr - warmupLr) * done) / warmupSteps;
  if (kind === 'constant') return lr;
  return anneal(lr, minLr, (done - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
}
