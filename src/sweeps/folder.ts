/** The folder of a sweep, with the progress of each of its configurations. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, FormatError } from '../core/errors.js';
import { reason, writeFileAtomic } from '../io/atomic.js';
import { isObject } from '../io/json.js';
import { readJson, statOf } from '../io/read.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { checkpointNames } from '../runs/checkpoint.js';
import { checkContinuation, equallyLong } from '../runs/continuation.js';
import { readHistory } from '../runs/history.js';
import { type Lock, lockRun } from '../runs/lock.js';
import { hasSaved } from '../runs/run_paths.js';
import type { Configuration } from './grid.js';
import type { PlannedRun } from './plan.js';
import { isRepeated, summarise } from './summary.js';
import { figuresOf, isComplete, type Progress, readRows, type Status, type SweepRow } from './table.js';

/** The settings in a run's config.json. Throws a FormatError if it is not one. */
function readRunSettings(path: string): Settings {
  const config = readJson(path);
  if (!isObject(config) || !isObject(config.settings))
    throw new FormatError(path, 'the file is not the config.json of a run.');
  try {
    return resolveSettings(config.settings);
  } catch (error) {
    if (error instanceof ConfigError) throw new FormatError(path, error.message);
    throw error;
  }
}

interface FolderOptions {
  /** True to take over locks of other machines (`--take-lock`). */
  readonly take?: boolean;
}

/** The folder of a sweep. It is locked, so that one process at a time runs a sweep in it. */
export class SweepFolder {
  private readonly known: Map<string, Progress>;
  /** Rows of earlier sweeps in this folder whose configurations are not in the plan. */
  private readonly earlier: readonly SweepRow[];

  private constructor(
    readonly path: string,
    private readonly plan: readonly PlannedRun[],
    private readonly version: string,
    private readonly lock: Lock,
    private readonly take: boolean,
  ) {
    const rows = readRows(this.file);
    this.known = new Map(rows.map(({ name, status, error }) => [name, { status, error }]));
    const planned = new Set(plan.map(({ name }) => name));
    this.earlier = rows.filter(isComplete).filter((row) => !planned.has(row.name));
  }

  /**
   * Creates the folder or opens an existing sweep, and locks it. Throws a ConfigError for a run in it that cannot be
   * continued, and a FormatError for a damaged file; then nothing has changed.
   */
  static open(
    path: string,
    plan: readonly PlannedRun[],
    version: string,
    { take = false }: FolderOptions = {},
  ): SweepFolder {
    if (existsSync(join(path, 'config.json')))
      throw new ConfigError(`${path} is a run and not a sweep. Give another --output.`);
    try {
      mkdirSync(path, { recursive: true });
    } catch (error) {
      throw new ConfigError(`The folder ${path} cannot be created (${reason(error)}).`);
    }
    const lock = lockRun(path, { take });
    try {
      const folder = new SweepFolder(path, plan, version, lock, take);
      for (const run of plan) folder.demandTakeable(run);
      folder.rows(); // throws if the history of a run is damaged
      return folder;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Releases the lock. The exit of the process releases it, too. */
  close(): void {
    this.lock.release();
  }

  runPath({ name }: Configuration): string {
    return join(this.path, name);
  }

  /** True if the run has finished with the length that the plan gives it. */
  isFinished(run: PlannedRun): boolean {
    const before = this.settingsOf(run);
    const done = this.known.get(run.name)?.status === 'finished';
    return done && before !== null && equallyLong(before, run.settings);
  }

  /** True if the run has a saved state to continue from. */
  canContinue(run: PlannedRun): boolean {
    return existsSync(join(this.runPath(run), 'checkpoints', checkpointNames.state));
  }

  /** Marks the run as running. Deletes its folder first if an earlier attempt ended before it saved anything. */
  begin(run: PlannedRun): void {
    if (this.hasNothingSaved(run)) this.discard(run);
    this.mark(run, 'running');
  }

  /** Sets the status of a run, and writes sweep.json. */
  mark({ name }: Configuration, status: Status, error: string | null = null): void {
    this.known.set(name, { status, error });
    const runs = this.rows();
    const summary = isRepeated(runs) ? { configurations: summarise(runs) } : {};
    const sweep = { version: this.version, runs, ...summary };
    writeFileAtomic(this.file, new TextEncoder().encode(`${JSON.stringify(sweep, null, 2)}\n`));
  }

  /** Gives runs of a later rung their rows, because their configurations were kept. */
  choose(runs: readonly PlannedRun[]): void {
    for (const { name } of runs)
      if (!this.known.has(name)) this.known.set(name, { status: 'waiting', error: null });
  }

  /** A row for each run with its results. Runs of earlier sweeps come first. */
  rows(): SweepRow[] {
    const planned = this.plan
      .filter((run) => this.isChosen(run))
      .map(({ name, configuration, rung, settings: { seed }, changes, parameters, mflops }) => {
        const { status = 'waiting', error = null } = this.known.get(name) ?? {};
        return { name, configuration, rung, seed, changes, status, error, parameters, mflops };
      });
    return [...this.earlier, ...planned].map((row) => ({
      ...{ configuration: row.name, rung: null, seed: null },
      ...row,
      ...figuresOf(readHistory(this.runPath(row))),
    }));
  }

  /** False for a run of a later rung as long as its configuration may not be kept. */
  private isChosen({ name, rung }: PlannedRun): boolean {
    return rung === null || rung === 1 || this.known.has(name);
  }

  private get file(): string {
    return join(this.path, 'sweep.json');
  }

  /** The settings that the run in the folder was started with; null if there is no run. */
  private settingsOf(run: Configuration): Settings | null {
    const path = join(this.runPath(run), 'config.json');
    return existsSync(path) ? readRunSettings(path) : null;
  }

  /** True if this sweep has started the run, and the run has saved neither weights nor a state. */
  private hasNothingSaved(run: PlannedRun): boolean {
    const { status = 'waiting' } = this.known.get(run.name) ?? {};
    const path = this.runPath(run);
    return existsSync(path) && ['running', 'stopped', 'failed'].includes(status) && !hasSaved(path);
  }

  private discard(run: PlannedRun): void {
    const path = this.runPath(run);
    const lock = lockRun(path, { take: this.take });
    try {
      rmSync(path, { recursive: true });
    } finally {
      lock.release();
    }
  }

  /** Throws a ConfigError if the run's folder is in use, or if the sweep can neither continue nor replace its content. */
  private demandTakeable(run: PlannedRun): void {
    const path = this.runPath(run);
    const stat = statOf(path);
    if (!stat) return;
    if (!stat.isDirectory())
      throw new ConfigError(
        `${path} is a file, but the sweep needs a folder there. Move it away or give another --output.`,
      );
    const before = this.settingsOf(run);
    if (before) this.demandSameSettings(run, before);
    if (this.isFinished(run)) return;
    lockRun(path, { take: this.take }).release();
    if (before && !this.canContinue(run) && !this.hasNothingSaved(run))
      throw new ConfigError(
        `${path} has no checkpoints/${checkpointNames.state} to continue from. Move it away or give another --output.`,
      );
  }

  private demandSameSettings(run: PlannedRun, before: Settings): void {
    try {
      checkContinuation(before, run.settings);
    } catch (error) {
      throw new ConfigError(
        `${this.runPath(run)}: ${(error as Error).message} Give another --output to start a new sweep.`,
      );
    }
  }
}
