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

export class RunDirectory {
  private steps: AppendLog;
  /** Null until the logs are started. */
  private events: EventsLog | null = null;

  private constructor(
    readonly path: string,
    /** The outermost folder that was made for the run; undefined where all were there. */
    private readonly made: string | undefined,
  ) {
    this.steps = new AppendLog(join(path, STEPS_FILE));
  }

  /**
   * Makes the folder. One that holds a run is refused unless that run is the one to be continued (`resume`), and so is one whose
   * config.json is not a run's: it would be overwritten. What a run has left that took no step does not count.
   */
  static open(path: string, { resume }: { resume: boolean }): RunDirectory {
    if (!resume) refuseTaken(path);
    try {
      return new RunDirectory(path, mkdirSync(join(path, 'checkpoints'), { recursive: true }));
    } catch (error) {
      throw new ConfigError(`The run directory ${path} cannot be made (${reason(error)}).`);
    }
  }

  /** Removes the folders that were made for a run which has written nothing; one that holds a file stays. */
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
      // It is not empty.
    }
  }

  /** Takes over the logs and the best weights of another run directory, whose run goes on in this one. */
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

  /** Whether best.safetensors is there and not of a step after `step`: of a run that was continued from an earlier state. */
  hasBest(step: number): boolean {
    const path = this.checkpoint(checkpointNames.best);
    if (!existsSync(path)) return false;
    try {
      return withSafetensors(path, ({ metadata }) => Number(metadata.step) <= step);
    } catch {
      return false;
    }
  }

  checkpoint(name: string): string {
    return join(this.path, 'checkpoints', name);
  }

  writeConfig(config: unknown): void {
    writeFileAtomic(join(this.path, 'config.json'), pretty(config));
  }

  appendStep(entry: StepEntry): void {
    this.steps.add(utf8(`${JSON.stringify(entry)}\n`));
    const { loss, grad_norm, lr, images_per_second } = entry;
    const scalars = Object.entries({ loss, grad_norm, lr, images_per_second });
    const known = scalars.filter((scalar): scalar is [string, number] => scalar[1] !== null);
    this.events?.add(entry.step, Object.fromEntries(known.map(([k, v]) => [`train/${k}`, v])));
  }

  /** What TensorBoard shows of an epoch, at the step that it ended with. */
  appendEpoch(step: number, entry: EpochEntry): void {
    this.events?.add(step, epochScalars(entry));
  }

  /** Writes what was appended; what the disk refuses, with a DiskError, is tried again the next time. */
  flushLogs(): void {
    this.steps.flush();
    this.events?.flush();
  }

  writeHistory(history: readonly EpochEntry[]): void {
    writeFileAtomic(join(this.path, 'history.json'), pretty(history));
    writeFileAtomic(join(this.path, 'history.csv'), utf8(csv(history)));
  }

  /**
   * Opens the logs of a run of which `step` steps are done. Logged steps beyond it are of a run that was stopped after its last
   * saved state: dropped here, and by TensorBoard when it meets the session that starts. So is the line of `step` itself
   * unless `logged`: the run was to end there, and goes on.
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

/** val_loss as val/loss, ema_val_accuracy as ema_val/accuracy: TensorBoard groups by what is before the slash. */
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

/** A column for every field, in full precision; a figure that is not there is an empty cell. */
function csv(history: readonly EpochEntry[]): string {
  const columns = [...new Set(history.flatMap((entry) => Object.keys(entry)))] as (keyof EpochEntry)[];
  const rows = history.map((entry) => columns.map((column) => entry[column] ?? ''));
  return [columns, ...rows].map((cells) => `${cells.join(',')}\n`).join('');
}

// A line cut short by a crash is not JSON: it is dropped like those beyond the state.
function isStepUpTo(line: string, step: number): boolean {
  try {
    return (JSON.parse(line) as StepEntry).step <= step;
  } catch {
    return false;
  }
}
