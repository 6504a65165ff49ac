/** The folder of a run: config.json, steps.jsonl, history.json, checkpoints/. */
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { appendLine, reason, writeFileAtomic } from '../io/atomic.js';

export interface StepEntry {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly lr: number;
  readonly grad_norm: number;
  readonly images_per_second: number;
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
  readonly lr: number;
  readonly seconds: number;
}

const pretty = (value: unknown): Uint8Array =>
  new TextEncoder().encode(`${JSON.stringify(value, null, 2)}\n`);

export class RunDirectory {
  private constructor(readonly path: string) {}

  /** Makes the folder; one that holds a run already is refused unless it is to be continued. */
  static open(path: string, { resume }: { resume: boolean }): RunDirectory {
    try {
      mkdirSync(join(path, 'checkpoints'), { recursive: true });
      if (!resume && readdirSync(path).includes('config.json'))
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
    appendLine(join(this.path, 'steps.jsonl'), JSON.stringify(entry));
  }

  writeHistory(history: readonly EpochEntry[]): void {
    writeFileAtomic(join(this.path, 'history.json'), pretty(history));
  }

  /** Drops logged steps beyond `step`: those of a run that was stopped after its last saved state. */
  truncateSteps(step: number): void {
    const path = join(this.path, 'steps.jsonl');
    if (!existsSync(path)) return;
    const kept = readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => isStepUpTo(line, step));
    writeFileAtomic(path, new TextEncoder().encode(kept.map((line) => `${line}\n`).join('')));
  }
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
