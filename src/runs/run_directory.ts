/** The folder of a run: config.json, steps.jsonl, history.json and .csv, TensorBoard's events, checkpoints/. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { AppendLog } from '../io/append_log.js';
import { diskError, reason, writeFileAtomic } from '../io/atomic.js';
import { withSafetensors } from '../io/safetensors_file.js';
import type { EpochEntry, StepEntry } from '../training/progress.js';
import { checkpointNames } from './checkpoint.js';
import { EventsLog } from './events_log.js';
import { refuseTaken, STEPS_FILE } from './run_paths.js';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const pretty = (value: unknown): Uint8Array => utf8(`${JSON.stringify(value, null, 2)}\n`);

/** The files that a run writes. Methods that write throw a DiskError if the system refuses. */
export class RunDirectory {
  private steps: AppendLog;
  /** Null until the logs are started. */
  private events: EventsLog | null = null;

  private constructor(
    readonly path: string,
    /** The outermost folder that `open` created; undefined if all existed. */
    private readonly made: string | undefined,
  ) {
    this.steps = new AppendLog(join(path, STEPS_FILE));
  }

  /**
   * Creates the folder and its subfolder `checkpoints`. Without `resume`, throws a ConfigError if the folder contains a run
   * with at least one step, or a config.json that is not a run's and would be overwritten.
   */
  static open(path: string, { resume }: { resume: boolean }): RunDirectory {
    if (!resume) refuseTaken(path);
    try {
      return new RunDirectory(path, mkdirSync(join(path, 'checkpoints'), { recursive: true }));
    } catch (error) {
      throw new ConfigError(`The run directory ${path} cannot be created (${reason(error)}).`);
    }
  }

  /** Removes the folders that `open` created, for a run that has written nothing. A folder with a file stays. */
  abandon(): void {
    if (this.made === undefined) return;
    const outermost = resolve(this.made);
    try {
      for (
        let folder = resolve(this.path, 'checkpoints');
        folder.startsWith(outermost);
        folder = dirname(folder)
      )
        rmdirSync(folder);
    } catch {
      // The folder is not empty.
    }
  }

  /** Copies the logs and the best weights of another run directory, whose run continues in this one. */
  adopt(from: string): void {
    const names = readdirSync(from).filter((name) => name === STEPS_FILE || EventsLog.isOne(name));
    const best = join('checkpoints', checkpointNames.best);
    for (const name of existsSync(join(from, best)) ? [...names, best] : names)
      try {
        copyFileSync(join(from, name), join(this.path, name));
      } catch (error) {
        throw diskError('copy', join(from, name), 0, error);
      }
  }

  /**
   * True if best.safetensors exists and is from step `step` or before. A run that continues from an earlier state may find
   * the weights of a later step there.
   */
  hasBest(step: number): boolean {
    const path = this.checkpoint(checkpointNames.best);
    if (!existsSync(path)) return false;
    try {
      return withSafetensors(path, ({ metadata }) => Number(metadata.step) <= step);
    } catch {
      return false;
    }
  }

  /** The path of a file in `checkpoints`. */
  checkpoint(name: string): string {
    return join(this.path, 'checkpoints', name);
  }

  /** Writes config.json. */
  writeConfig(config: unknown): void {
    writeFileAtomic(join(this.path, 'config.json'), pretty(config));
  }

  /** Adds a step to steps.jsonl and to TensorBoard's events; `flushLogs` writes it. */
  appendStep(entry: StepEntry): void {
    this.steps.add(utf8(`${JSON.stringify(entry)}\n`));
    const { loss, grad_norm, lr, images_per_second } = entry;
    const scalars = Object.entries({ loss, grad_norm, lr, images_per_second });
    const known = scalars.filter((scalar): scalar is [string, number] => scalar[1] !== null);
    this.events?.add(entry.step, Object.fromEntries(known.map(([k, v]) => [`train/${k}`, v])));
  }

  /** Adds an epoch to TensorBoard's events, at the step that ended it; `flushLogs` writes it. */
  appendEpoch(step: number, entry: EpochEntry): void {
    this.events?.add(step, epochScalars(entry));
  }

  /** Writes the appended entries. Throws a DiskError if the disk refuses; the next call tries them again. */
  flushLogs(): void {
    this.steps.flush();
    this.events?.flush();
  }

  /** Writes history.json and history.csv anew. */
  writeHistory(history: readonly EpochEntry[]): void {
    writeFileAtomic(join(this.path, 'history.json'), pretty(history));
    writeFileAtomic(join(this.path, 'history.csv'), utf8(csv(history)));
  }

  /**
   * Opens the logs of a run that has done `step` steps. Later lines come from steps after the last saved state and are
   * dropped; TensorBoard drops its events of them, too. Without `logged`, the line of `step` is dropped as well: the shorter
   * run logged it because it was its last step, and a run of the new length does not log it.
   */
  startLogs(step: number, logged = true): void {
    const last = logged ? step : step - 1;
    this.events = EventsLog.start(this.path, last);
    const { path } = this.steps;
    this.steps = new AppendLog(path);
    if (!existsSync(path)) return;
    const kept = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => isStepUpTo(line, last));
    writeFileAtomic(path, utf8(kept.map((line) => `${line}\n`).join('')));
  }
}

/** val_loss becomes val/loss, ema_val_accuracy ema_val/accuracy: TensorBoard groups tags by the word before the slash. */
function epochScalars(entry: EpochEntry): Record<string, number> {
  const judged = Object.entries(entry).flatMap(([name, value]) => {
    const [, group, figure] = /^((?:\w+_)?val)_(\w+)$/.exec(name) ?? [];
    return group && typeof value === 'number' ? [[`${group}/${figure}`, value] as const] : [];
  });
  const { train_accuracy } = entry;
  return {
    ...(train_accuracy === null ? {} : { 'train/epoch_accuracy': train_accuracy }),
    ...Object.fromEntries(judged),
  };
}

/** A column for every field, in full precision. A missing value is an empty cell. */
function csv(history: readonly EpochEntry[]): string {
  const columns = [...new Set(history.flatMap((entry) => Object.keys(entry)))] as (keyof EpochEntry)[];
  const rows = history.map((entry) => columns.map((column) => entry[column] ?? ''));
  return [columns, ...rows].map((cells) => `${cells.join(',')}\n`).join('');
}

// A line that a crash cut short is not JSON and is dropped, too.
function isStepUpTo(line: string, step: number): boolean {
  try {
    return (JSON.parse(line) as StepEntry).step <= step;
  } catch {
    return false;
  }
}
