/** A sweep: configurations that are checked before any runs, and the folder that remembers how far each one came. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, FormatError, PatchlightError } from '../core/errors.js';
import type { DatasetDescription } from '../data/dataset.js';
import { reason, writeFileAtomic } from '../io/atomic.js';
import { isObject } from '../io/json.js';
import { readJson, statOf } from '../io/read.js';
import { buildModel } from '../recipe/model.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { checkpointNames } from '../runs/checkpoint.js';
import { checkContinuation, equallyLong } from '../runs/continuation.js';
import { readHistory } from '../runs/history.js';
import { type Lock, lockRun } from '../runs/lock.js';
import { hasSaved } from '../runs/run_paths.js';
import type { Configuration } from './grid.js';
import { figuresOf, isComplete, type Progress, readRows, type Status, type SweepRow } from './table.js';

export interface PlannedRun extends Configuration {
  readonly settings: Settings;
  readonly parameters: number;
  /** Millions of floating-point operations of one image's forward pass. */
  readonly mflops: number;
}

type Layer = Partial<Record<string, unknown>>;

/**
 * Resolves a configuration over what all share, and builds its model for the images of its data set; what cannot be is a
 * ConfigError that names the configuration.
 */
export async function planRun(
  { name, changes }: Configuration,
  shared: readonly Layer[],
  imagesOf: (settings: Settings) => Promise<DatasetDescription>,
): Promise<PlannedRun> {
  try {
    const settings = resolveSettings(...shared, changes);
    const model = buildModel(settings, await imagesOf(settings));
    return { name, changes, settings, parameters: model.numParams(), mflops: model.flops() / 1e6 };
  } catch (error) {
    if (error instanceof PatchlightError) throw new ConfigError(`${name}: ${error.message}`);
    throw error;
  }
}

/** Files that a sweep has in its folder, beside the folders of its runs; config.json is what tells a run's folder from it. */
const OWN_FILES = ['sweep.json', 'sweep.md', 'sweep.html', 'run.lock', 'config.json'];

/** File systems take 255 bytes; a run's own temporary files need some of them. */
const LONGEST_NAME = 200;

/** Throws where a name cannot be that of a folder of its own. */
export function checkNames(configurations: readonly Configuration[]): void {
  const names = configurations.map(({ name }) => name);
  const twin = names.find((name, i) => names.indexOf(name) !== i);
  if (twin) throw new ConfigError(`There are two configurations called ${twin}; each needs its own name.`);
  const own = names.find((name) => OWN_FILES.includes(name));
  if (own)
    throw new ConfigError(
      `a configuration cannot be called ${own}: the sweep itself has a file of that name. Give it another.`,
    );
  const long = names.find((name) => name.length > LONGEST_NAME);
  if (long)
    throw new ConfigError(
      `the name of a configuration has ${long.length} characters, and becomes that of a folder: give it a name of at most ${LONGEST_NAME} by a --list.`,
    );
}

/** The settings that a run's config.json says it was started with. A FormatError names the file where it is none. */
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

interface OpenOptions {
  /** Whether to take over a lock that a process of another host has left, as `--take-lock` says. */
  readonly take?: boolean;
}

/** A sweep's folder, locked: one process at a time runs a sweep in it. */
export class SweepFolder {
  private readonly known: Map<string, Progress>;
  /** Rows of configurations that an earlier sweep of this folder had. */
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
   * Makes the folder and locks it, or takes up the sweep that is in it. A ConfigError says which run there is in the way, a
   * FormatError which file is damaged; nothing has changed then.
   */
  static open(
    path: string,
    plan: readonly PlannedRun[],
    version: string,
    { take = false }: OpenOptions = {},
  ): SweepFolder {
    if (existsSync(join(path, 'config.json')))
      throw new ConfigError(`${path} holds a run, not a sweep; give another --output.`);
    try {
      mkdirSync(path, { recursive: true });
    } catch (error) {
      throw new ConfigError(`The folder ${path} cannot be made (${reason(error)}).`);
    }
    const lock = lockRun(path, { take });
    try {
      const folder = new SweepFolder(path, plan, version, lock, take);
      for (const run of plan) folder.demandTakeable(run);
      folder.rows(); // reads every run's history
      return folder;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /** Gives the lock back. Happens at the latest when the process exits. */
  close(): void {
    this.lock.release();
  }

  runPath({ name }: Configuration): string {
    return join(this.path, name);
  }

  isFinished(run: PlannedRun): boolean {
    const before = this.settingsOf(run);
    const done = this.known.get(run.name)?.status === 'finished';
    return done && before !== null && equallyLong(before, run.settings);
  }

  /** Whether the run has a saved state to continue from. */
  canContinue(run: PlannedRun): boolean {
    return existsSync(join(this.runPath(run), 'checkpoints', checkpointNames.state));
  }

  /** Marks the run as under way. One that ended before it first saved its state leaves nothing to continue: it goes. */
  begin(run: PlannedRun): void {
    if (this.isVain(run)) this.discard(run);
    this.mark(run, 'running');
  }

  mark({ name }: Configuration, status: Status, error: string | null = null): void {
    this.known.set(name, { status, error });
    const sweep = { version: this.version, runs: this.rows() };
    writeFileAtomic(this.file, new TextEncoder().encode(`${JSON.stringify(sweep, null, 2)}\n`));
  }

  /** A row for each configuration, those of earlier sweeps first, with the figures that its run has written. */
  rows(): SweepRow[] {
    const planned = this.plan.map(({ name, changes, parameters, mflops }) => {
      const { status = 'waiting', error = null } = this.known.get(name) ?? {};
      return { name, changes, status, error, parameters, mflops };
    });
    return [...this.earlier, ...planned].map((row) => ({
      ...row,
      ...figuresOf(readHistory(this.runPath(row))),
    }));
  }

  private get file(): string {
    return join(this.path, 'sweep.json');
  }

  /** What the run in the folder was started with; null where there is none. */
  private settingsOf(run: Configuration): Settings | null {
    const path = join(this.runPath(run), 'config.json');
    return existsSync(path) ? readRunSettings(path) : null;
  }

  /** Whether this sweep began the run, and nothing of it is worth keeping. */
  private isVain(run: PlannedRun): boolean {
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

  /** Throws where what lies in the run's folder is neither to be continued nor to be started anew, or is in use. */
  private demandTakeable(run: PlannedRun): void {
    const path = this.runPath(run);
    const stat = statOf(path);
    if (!stat) return;
    if (!stat.isDirectory())
      throw new ConfigError(
        `${path} is a file where the folder of a run is to be. Move it away or give another --output.`,
      );
    const before = this.settingsOf(run);
    if (before) this.demandSameSettings(run, before);
    if (this.isFinished(run)) return;
    lockRun(path, { take: this.take }).release();
    if (before && !this.canContinue(run) && !this.isVain(run))
      throw new ConfigError(
        `${path} has no checkpoints/${checkpointNames.state} to go on from. Move it away or give another --output.`,
      );
  }

  private demandSameSettings(run: PlannedRun, before: Settings): void {
    try {
      checkContinuation(before, run.settings);
    } catch (error) {
      throw new ConfigError(
        `${this.runPath(run)}: ${(error as Error).message} Give another --output for another sweep.`,
      );
    }
  }
}
