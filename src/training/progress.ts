/** How far a run has come, and the entries of its logs. */

/** The weights themselves, or their exponential moving average. */
export type WeightsKind = 'raw' | 'ema';

/** A line of steps.jsonl. */
export interface StepEntry {
  /** Counted from 1. */
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly lr: number;
  /** The global L2 norm before clipping. Null where it is not finite: a step that --amp skipped. */
  readonly grad_norm: number | null;
  readonly images_per_second: number;
  /** Only where the loss is a spike: its z-score among the losses before. */
  readonly loss_z?: number;
  /** With --amp: the loss scale, and steps skipped so far. */
  readonly loss_scale?: number;
  readonly skipped_steps?: number;
}

/** An entry of history.json. */
export interface EpochEntry {
  readonly epoch: number;
  /** Null where --amp has skipped every step. */
  readonly train_loss: number | null;
  readonly train_accuracy: number | null;
  /** Images trained on: fewer than all where the run was cut short. */
  readonly images: number;
  /** Null in an epoch without evaluation. */
  readonly val_loss: number | null;
  readonly val_accuracy: number | null;
  /** The same of the EMA; null without one, too. */
  readonly ema_val_loss: number | null;
  readonly ema_val_accuracy: number | null;
  readonly lr: number;
  readonly seconds: number;
}

/** Counters of the epoch under way: its batches done, and sums over them. */
interface EpochCounters {
  batch: number;
  lossSum: number;
  correct: number;
  images: number;
  seconds: number;
}

/** Everything a continuation must know that is not a tensor. */
export interface Progress extends EpochCounters {
  /** Steps and epochs done in all. */
  step: number;
  epoch: number;
  /** Of the latest steps, for finding spikes. */
  losses: number[];
  best: { accuracy: number; epoch: number; weights: WeightsKind } | null;
  history: EpochEntry[];
}

export const freshEpoch = (): EpochCounters => ({ batch: 0, lossSum: 0, correct: 0, images: 0, seconds: 0 });

export const freshProgress = (): Progress => ({
  step: 0,
  epoch: 0,
  ...freshEpoch(),
  losses: [],
  best: null,
  history: [],
});

/** The length of a run, known before its first step. */
export interface RunLength {
  /** Steps an epoch. */
  readonly batches: number;
  /** Steps in all. */
  readonly totalSteps: number;
}

/** Whether a step is logged: every `logInterval` steps, at the end of an epoch (as timm) and at the end of the run. */
export const isLogged = (step: number, logInterval: number, { batches, totalSteps }: RunLength): boolean =>
  step % logInterval === 0 || step % batches === 0 || step === totalSteps;
