/** sweep.json: the status and results of each configuration of a sweep. */
import { existsSync } from 'node:fs';
import { FormatError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import { readJson } from '../io/read.js';
import type { Settings } from '../recipe/settings.js';
import type { EpochEntry } from '../training/progress.js';

const STATUSES = ['waiting', 'running', 'finished', 'stopped', 'failed'] as const;
export type Status = (typeof STATUSES)[number];

export interface SweepRow {
  readonly name: string;
  /** As in PlannedRun. In rows of earlier versions, the name, and null. */
  readonly configuration: string;
  readonly rung: number | null;
  /** Null in rows of earlier versions. */
  readonly seed: number | null;
  readonly changes: Partial<Settings>;
  readonly status: Status;
  /** The error message of a failed run; otherwise null. */
  readonly error: string | null;
  readonly parameters: number;
  readonly mflops: number;
  /**
   * Accuracies on the validation images (the test images without --val-split), as fractions; null before the first
   * evaluation. The best is the highest of all epochs, of the weights or their EMA, as in best.safetensors. The last are of
   * the last evaluation, of the weights and of their EMA; null without an EMA.
   */
  readonly best_accuracy: number | null;
  readonly last_accuracy: number | null;
  readonly last_ema_accuracy: number | null;
  readonly train_loss: number | null;
  readonly epochs: number;
  /** Time of training, without evaluation. */
  readonly seconds: number;
  readonly images_per_second: number | null;
  /** Floating-point operations of training; null if the run did not count them. */
  readonly flops: number | null;
}

export type Progress = Pick<SweepRow, 'status' | 'error'>;
export type NamedProgress = Progress & Pick<SweepRow, 'name'>;

/** The rows of the table at `path`; only name, status and error are checked. Throws a FormatError if it is damaged. */
export function readRows(path: string): NamedProgress[] {
  if (!existsSync(path)) return [];
  const sweep = readJson(path);
  if (!isObject(sweep) || !Array.isArray(sweep.runs) || !sweep.runs.every(isRow))
    throw new FormatError(path, 'the file is not the table of a sweep.');
  return sweep.runs;
}

/** True if a row has its configuration and model sizes, so that it can be shown again. */
export function isComplete(row: NamedProgress): row is SweepRow {
  const { changes, parameters, mflops } = row as Partial<SweepRow>;
  return isObject(changes) && typeof parameters === 'number' && typeof mflops === 'number';
}

function isRow(row: unknown): row is NamedProgress {
  if (!isObject(row)) return false;
  const { name, status, error } = row;
  const isError = error === null || typeof error === 'string';
  return typeof name === 'string' && (STATUSES as readonly unknown[]).includes(status) && isError;
}

type Figures = Pick<
  SweepRow,
  | 'best_accuracy'
  | 'last_accuracy'
  | 'last_ema_accuracy'
  | 'train_loss'
  | 'epochs'
  | 'seconds'
  | 'images_per_second'
  | 'flops'
>;

/** The results of a run, from the entries of its history. */
export function figuresOf(history: readonly EpochEntry[]): Figures {
  const known = (accuracies: readonly (number | null | undefined)[]) =>
    accuracies.filter((accuracy) => typeof accuracy === 'number');
  const raw = known(history.map(({ val_accuracy }) => val_accuracy));
  const ema = known(history.map(({ ema_val_accuracy }) => ema_val_accuracy));
  const all = [...raw, ...ema];
  const total = (of: (entry: EpochEntry) => number) => history.reduce((sum, entry) => sum + of(entry), 0);
  const seconds = total((entry) => entry.seconds);
  return {
    best_accuracy: all.length > 0 ? Math.max(...all) : null,
    last_accuracy: raw.at(-1) ?? null,
    last_ema_accuracy: ema.at(-1) ?? null,
    train_loss: history.at(-1)?.train_loss ?? null,
    epochs: history.length,
    seconds,
    images_per_second: seconds > 0 ? total(({ images }) => images) / seconds : null,
    flops: history.at(-1)?.flops ?? null,
  };
}
