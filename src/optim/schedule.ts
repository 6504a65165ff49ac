/** Learning rate schedules, as pure functions of the number of finished steps. */

/** A learning rate schedule: linear warm-up and then a cosine, a line or a constant; or OneCycleLR. */
export interface Schedule {
  readonly kind: 'cosine' | 'linear' | 'constant' | 'one-cycle';
  /** The peak learning rate. */
  readonly lr: number;
  /** The learning rate at the start of warm-up. */
  readonly warmupLr: number;
  /** The learning rate at the end of the cosine or the line. */
  readonly minLr: number;
  readonly warmupSteps: number;
  /** The length of the schedule in steps, warm-up included. */
  readonly totalSteps: number;
}

/** OneCycleLR's defaults: pct_start, div_factor and final_div_factor. */
const ONE_CYCLE = { rise: 0.3, divide: 25, finalDivide: 1e4 } as const;

/** Half a cosine from one learning rate to another as `progress` goes from 0 to 1; more than 1 counts as 1. */
const anneal = (from: number, to: number, progress: number): number =>
  to + 0.5 * (from - to) * (1 + Math.cos(Math.PI * Math.min(1, progress)));

/**
 * torch.optim.lr_scheduler.OneCycleLR (Smith and Topin, 2019) with two cosine phases: up from lr/25 to lr over 30 % of the
 * steps, then down to lr/250000 at the last step. The betas are not cycled.
 */
function oneCycle({ lr, totalSteps }: Schedule, done: number): number {
  const first = lr / ONE_CYCLE.divide;
  const peak = ONE_CYCLE.rise * totalSteps - 1;
  if (done <= peak) return anneal(first, lr, done / peak);
  return anneal(lr, first / ONE_CYCLE.finalDivide, (done - peak) / (totalSteps - 1 - peak));
}

/**
 * The learning rate of the step that follows `done` finished steps. `cosine`, `linear` and `constant` have a linear warm-up
 * from warmupLr to lr, torch.optim.lr_scheduler's LinearLR. Then `cosine` falls to minLr along half a cosine, as
 * CosineAnnealingLR, and `linear` along a line, as a second LinearLR. `one-cycle` is OneCycleLR and uses only lr and
 * totalSteps.
 */
export function learningRate(schedule: Schedule, done: number): number {
  const { kind, lr, warmupLr, minLr, warmupSteps, totalSteps } = schedule;
  if (kind === 'one-cycle') return oneCycle(schedule, done);
  if (done < warmupSteps) return warmupLr + ((lr - warmupLr) * done) / warmupSteps;
  if (kind === 'constant') return lr;
  const progress = Math.min(1, (done - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  return kind === 'linear' ? minLr + (lr - minLr) * (1 - progress) : anneal(lr, minLr, progress);
}
