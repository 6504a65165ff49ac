/**
 * The output of a run. `fit` passes everything that may be kept or shown to a sink: src/runs/run_sink.ts writes a run
 * directory, a page may draw it. Every method is optional.
 */
import type { Model } from '../models/model.js';
import type { Part } from '../tensor/arena.js';
import type { EpochEntry, Progress, RunLength, StepEntry, WeightsKind } from './progress.js';

/** Facts about a run that are known before its first step. */
export interface RunFacts extends RunLength {
  readonly model: Model;
  readonly logInterval: number;
  /** Name of the images that choose the best checkpoint: `test`, or `validation` if images are held out. */
  readonly validationName: string;
}

/** The progress of a run at every log interval, for people. */
export interface StepReport extends RunLength {
  /** Number of finished steps. */
  readonly step: number;
  /** Counted from 1. */
  readonly epoch: number;
  /** Number of finished steps in the epoch. */
  readonly batch: number;
  /** Mean over the epoch so far; null while `--amp` has skipped all of its steps. The same for `accuracy`. */
  readonly loss: number | null;
  readonly accuracy: number | null;
  readonly lr: number;
  readonly imagesPerSecond: number;
  readonly gflops: number;
}

/** The end of an epoch. */
export interface EpochReport {
  readonly entry: EpochEntry;
  /** The entries of all epochs up to this one. */
  readonly history: readonly EpochEntry[];
  /** Number of finished steps. */
  readonly step: number;
  /** True if its evaluation is better than all before. */
  readonly isBest: boolean;
}

/** The tensors and counters of a run between two steps. They do not change until the sink's promise is settled. */
export interface Snapshot {
  readonly model: Model;
  readonly progress: Progress;
  /** The weights or their EMA; null if the run has no EMA. */
  weights(kind: WeightsKind): Part | null;
  /** All tensors that an exact resume needs, by name: `weights`, the optimizer's moments, `ema`. */
  readonly state: Readonly<Record<string, Part>>;
  /** The state of the loss scale, for an exact resume; null without --amp. */
  lossScale(): Promise<readonly number[]> | null;
}

/** How much depends on a save. */
export interface SaveOptions {
  /** True if no later save can make up for a failure of this one. */
  readonly ending: boolean;
}

/** Receives the output of `fit`. An error that a method throws ends the run. */
export interface Sink {
  /** Called before the first step. May set `progress.best` to null if the weights of the best evaluation are missing. */
  begin?(run: RunFacts, progress: Progress): void;
  /** Called for each logged step. */
  log?(entry: StepEntry): void;
  /** Writes the logged steps to disk. */
  flush?(): void;
  /** Called at every log interval, to show the progress. */
  step?(report: StepReport): void;
  /** Called with a sentence for people. */
  note?(sentence: string): void;
  /** Called after an epoch, also one that a step limit cut short. */
  epoch?(report: EpochReport, options: SaveOptions): void | Promise<void>;
  /** Saves the best weights so far: the weights, or their EMA. */
  best?(snapshot: Snapshot, kind: WeightsKind): Promise<void>;
  /** Saves the weights of an epoch: every --checkpoint-interval epochs. */
  checkpoint?(snapshot: Snapshot, epoch: number): Promise<void>;
  /** Saves everything that an exact resume needs. */
  state?(snapshot: Snapshot, options: SaveOptions): Promise<void>;
  /** Saves the final weights. */
  end?(snapshot: Snapshot): Promise<void>;
}
