/**
 * Where a run goes: `fit` computes, and hands everything worth keeping or showing to a sink. A run directory is one
 * (src/runs/run_sink.ts); a page draws; a test collects. Every method may be left out.
 */
import type { Model } from '../models/model.js';
import type { Part } from '../tensor/arena.js';
import type { EpochEntry, Progress, RunLength, StepEntry, WeightsKind } from './progress.js';

/** Facts that are known before the first step. */
export interface RunFacts extends RunLength {
  readonly model: Model;
  readonly logInterval: number;
  /** The images that choose the best checkpoint: `test`, or `validation` when images are held out for it. */
  readonly judge: string;
}

/** Figures for people, at every log interval. */
export interface StepReport extends RunLength {
  readonly step: number;
  readonly epoch: number;
  readonly batch: number;
  /** Means over the epoch so far; null while `--amp` has skipped all of its steps. */
  readonly loss: number | null;
  readonly accuracy: number | null;
  readonly lr: number;
  readonly imagesPerSecond: number;
  readonly gflops: number;
}

export interface EpochReport {
  readonly entry: EpochEntry;
  /** All epochs up to this one. */
  readonly history: readonly EpochEntry[];
  /** Steps done. */
  readonly step: number;
  /** Whether its evaluation is better than all before. */
  readonly isBest: boolean;
}

/** The tensors and counters of a run between two steps. Nothing changes them until the sink's promise is settled. */
export interface Snapshot {
  readonly model: Model;
  readonly progress: Progress;
  /** The weights, or their EMA; null for an EMA that the run does not keep. */
  weights(kind: WeightsKind): Part | null;
  /** All tensors that a continuation needs, by name: `weights`, the optimizer's moments, `ema`. */
  readonly state: Readonly<Record<string, Part>>;
  /** The loss scale's words, for a continuation; null without --amp. */
  lossScale(): Promise<readonly number[]> | null;
}

/** Something to save. `ending`: nothing comes after this save that could make up for it. */
export interface SaveOptions {
  readonly ending: boolean;
}

export interface Sink {
  /** Before the first step. May take the best evaluation out of `progress` where its weights are not at hand. */
  begin?(run: RunFacts, progress: Progress): void;
  /** A logged step. */
  log?(entry: StepEntry): void;
  /** Makes logged steps durable. */
  flush?(): void;
  step?(report: StepReport): void;
  /** A sentence for people. */
  note?(sentence: string): void;
  /** An epoch that is done, or that a step limit cut short. */
  epoch?(report: EpochReport, options: SaveOptions): void | Promise<void>;
  /** Keeps the best weights so far. */
  best?(snapshot: Snapshot, kind: WeightsKind): Promise<void>;
  /** Keeps the weights of an epoch: every --checkpoint-interval epochs. */
  checkpoint?(snapshot: Snapshot, epoch: number): Promise<void>;
  /** Keeps everything that a continuation needs. */
  state?(snapshot: Snapshot, options: SaveOptions): Promise<void>;
  /** Keeps the weights that training ended with. */
  end?(snapshot: Snapshot): Promise<void>;
}
