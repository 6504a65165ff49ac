/** The progress of a run, and the entries of its logs. */

/** The weights themselves, or their exponential moving average. */
export type WeightsKind = 'raw' | 'ema';

/** A line of steps.jsonl. */
export interface StepEntry {
  /** Counted from 1. */
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly lr: number;
  /** Global L2 norm of the gradient before clipping. Null for a step that --amp skipped because of overflow. */
  readonly grad_norm: number | null;
  readonly images_per_second: number;
  /** z-score of the loss among the losses before it; only present if the loss is a spike. */
  readonly loss_z?: number;
  /** With --amp: the loss scale, and the number of skipped steps so far. */
  readonly loss_scale?: number;
  readonly skipped_steps?: number;
}

/** An entry of history.json. */
export interface EpochEntry {
  /** Counted from 1. */
  readonly epoch: number;
  /** Mean over the epoch; null if --amp has skipped every step. */
  readonly train_loss: number | null;
  readonly train_accuracy: number | null;
  /** Number of images trained on; fewer than all if a step limit cut the epoch short. */
  readonly images: number;
  /** Null in an epoch without evaluation. */
  readonly val_loss: number | null;
  readonly val_accuracy: number | null;
  /** The same for the EMA of the weights; also null without an EMA. */
  readonly ema_val_loss: number | null;
  readonly ema_val_accuracy: number | null;
  /** Learning rate of the last step. */
  readonly lr: number;
  /** Time of training, without evaluation. */
  readonly seconds: number;
  /** Floating-point operations of training since its start. Absent in older runs. */
  readonly flops?: number;
}

/** Counters of the current epoch: the number of finished batches, and sums over them. */
interface EpochCounters {
  batch: number;
  lossSum: number;
  correct: number;
  images: number;
  seconds: number;
}

/** The state of a run besides its tensors: everything else that an exact resume needs. */
export interface Progress extends EpochCounters {
  /** Number of finished steps. */
  step: number;
  /** Number of finished epochs. */
  epoch: number;
  /** Losses of the latest steps, for finding spikes. */
  losses: number[];
  best: { accuracy: number; epoch: number; weights: WeightsKind } | null;
  history: EpochEntry[];
}

/** The counters at the start of an epoch. */
export const freshEpoch = (): EpochCounters => ({ batch: 0, lossSum: 0, correct: 0, images: 0, seconds: 0 });

/** The progress of a run before its first step. */
export const freshProgress = (): Progress => ({
  step: 0,
  epoch: 0,
  ...freshEpoch(),
  losses: [],
  best: null,
  history: [],
});

/** The length of a run, which is known before its first step. */
export interface RunLength {
  /** Steps per epoch. */
  readonly batches: number;
  /** Steps of the whole run. */
  readonly totalSteps: number;
}

/** True if a step is logged: every `logInterval` steps, at the end of an epoch (as in timm) and at the end of the run. */
export const isLogged = (step: number, logInterval: number, { batches, totalSteps }: RunLength): boolean =>
  step % logInterval === 0 || step % batches === 0 || step === totalSteps;
