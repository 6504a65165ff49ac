/** The folder of a run: config.json, steps.jsonl, history.json and .csv, TensorBoard's events, checkpoints/. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { AppendLog } from '../io/append_log.js';
import { reason, writeFileAtomic } from '../io/atomic.js';
import { EventsLog } from './events_log.js';

export interface StepEntry {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly lr: number;
  /** Null where it is not finite: a step of --amp that was skipped. */
  readonly grad_norm: number | null;
  readonly images_per_second: number;
  /** Only where the loss is a spike: its z-score among the losses before. */
  readonly loss_z?: number;
  /** With --amp: the loss scale, and steps skipped so far. */
  readonly loss_scale?: number;
  readonly skipped_steps?: number;
}

export interface EpochEntry {
  readonly epoch: number;
  readonly train_loss: number;
  readonly train_accuracy: number;
  /** Images trained on: fewer than all where the run was cut short. */
  readonly images: number;
  /** Null in an epoch without evaluation. */
  readonly val_loss: number | null;
  readonly val_accuracy: number | null;
  /** The same of the moving average of the weights; null without one, too. */
  readonly ema_val_loss: number | null;
  readonly ema_val_accuracy: number | null;
  readonly lr: number;
  readonly seconds: number;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

const pretty = (value: unknown): Uint8Array => utf8(`${JSON.stringify(value, null, 2)}\n`);

export class RunDirectory {
  private steps: AppendLog;
  /** Null until the logs are started. */
  private events: EventsLog | null = null;

  private constructor(readonly path: string) {
    this.steps = new AppendLog(join(path, 'steps.jsonl'));
  }

  /** Makes the folder; one that holds a run already is refused unless it is to be continued, or took no step. */
  static open(path: string, { resume }: { resume: boolean }): RunDirectory {
    try {
      mkdirSync(join(path, 'checkpoints'), { recursive: true });
      if (!resume && existsSync(join(path, 'config.json')) && hasStepped(path))
        throw new ConfigError(
          `${path} already holds a run; continue it with --resume ${path} or give another --output.`,
        );
    } catch (error) {
      if (error instanceof ConfigError) throw error;
      throw new ConfigError(`The run directory ${path} cannot be made (${reason(error)}).`);
    }
    return new RunDirectory(path);
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
   * Opens the logs of a run of which `step` steps are done. Logged steps beyond it are those of a run that was stopped
   * after its last saved state: dropped here, and by TensorBoard when it meets the session that starts.
   */
  startLogs(step: number): void {
    this.events = EventsLog.start(this.path, step);
    const { path } = this.steps;
    this.steps = new AppendLog(path);
    if (!existsSync(path)) return;
    const kept = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => isStepUpTo(line, step));
    writeFileAtomic(path, utf8(kept.map((line) => `${line}\n`).join('')));
  }
}

/** Whether a run has left more in its folder than what it was started with. */
function hasStepped(path: string): boolean {
  const log = statSync(join(path, 'steps.jsonl'), { throwIfNoEntry: false });
  return (log?.size ?? 0) > 0 || readdirSync(join(path, 'checkpoints')).length > 0;
}

/** val_loss as val/loss, ema_val_accuracy as ema_val/accuracy: TensorBoard groups by what is before the slash. */
function epochScalars(entry: EpochEntry): Record<string, number> {
  const judged = Object.entries(entry).flatMap(([name, value]) => {
    const [, group, figure] = /^((?:\w+_)?val)_(\w+)$/.exec(name) ?? [];
    return group && typeof value === 'number' ? [[`${group}/${figure}`, value] as const] : [];
  });
  return { 'train/epoch_accuracy': entry.train_accuracy, ...Object.fromEntries(judged) };
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

/** runs/<date>-<time>-<dataset>, or with a number behind it when that is taken. */
export function newRunPath(dataset: string, now: Date): string {
  const stamp = now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  const base = join('runs', `${stamp}-${dataset.replace(/[^\w.-]+/g, '_')}`);
  for (let n = 1; ; n++) {
    const path = n === 1 ? base : `${base}-${n}`;
    if (!existsSync(path)) return path;
  }
}
