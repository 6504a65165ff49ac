/** Learning rates, per step: pure functions of how many steps are done. */

export interface Schedule {
  readonly kind: 'cosine' | 'constant';
  /** The rate after warm-up. */
  readonly lr: number;
  readonly warmupLr: number;
  readonly minLr: number;
  readonly warmupSteps: number;
  /** All steps, warm-up included. */
  readonly totalSteps: number;
}

/**
 * The rate for the step after `done` steps: linear from warmupLr to lr over the warm-up, then constant, or half a
 * cosine down to minLr. As torch.optim.lr_scheduler's LinearLR followed by CosineAnnealingLR.
 */
export function learningRate(
  { kind, lr, warmupLr, minLr, warmupSteps, totalSteps }: Schedule,
  done: number,
): number {
  if (done < warmupSteps) return warmupLr + ((lr - warmupLr) * done) / warmupSteps;
  if (kind === 'constant') return lr;
  const progress = Math.min(1, (done - warmupSteps) / Math.max(1, totalSteps - warmupSteps));
  return minLr + 0.5 * (lr - minLr) * (1 + Math.cos(Math.PI * progress));
}
