/** A sweep: configurations that are checked before any runs, and the folder that remembers how far each one came. */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, FormatError, PatchlightError } from '../core/errors.js';
import type { DatasetDescription } from '../data/sources.js';
import { reason, writeFileAtomic } from '../io/atomic.js';
import { readJson } from '../io/read.js';
import { VisionTransformer } from '../models/vit.js';
import { modelOptions } from './build.js';
import { checkpointNames } from './checkpoint.js';
import type { Configuration } from './configurations.js';
import { checkContinuation, equallyLong } from './continuation.js';
import type { EpochEntry } from './run_directory.js';
import { resolveSettings, type Settings } from './settings.js';

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
    const model = new VisionTransformer(modelOptions(settings, await imagesOf(settings)));
    return { name, changes, settings, parameters: model.numParams(), mflops: model.flops() / 1e6 };
  } catch (error) {
    if (error instanceof PatchlightError) throw new ConfigError(`${name}: ${error.message}`);
    throw error;
  }
}

/** Two runs of one name would share a folder. */
export function refuseTwins(configurations: readonly Configuration[]): void {
  const names = configurations.map(({ name }) => name);
  const twin = names.find((name, i) => names.indexOf(name) !== i);
  if (twin) throw new ConfigError(`There are two configurations called ${twin}; each needs its own name.`);
}

export type Status = 'waiting' | 'running' | 'finished' | 'stopped' | 'failed';

export interface SweepRow {
  readonly name: string;
  readonly changes: Partial<Settings>;
  readonly status: Status;
  /** The sentence of a run that failed. */
  readonly error: string | null;
  readonly parameters: number;
  readonly mflops: number;
  /** Fractions, on the images that judge; null before the first evaluation. */
  readonly best_accuracy: number | null;
  readonly last_accuracy: number | null;
  readonly train_loss: number | null;
  readonly epochs: number;
  /** Of training, evaluation not included. */
  readonly seconds: number;
  readonly images_per_second: number | null;
}

export class SweepFolder {
  private readonly known: Map<string, Pick<SweepRow, 'status' | 'error'>>;

  private constructor(
    readonly path: string,
    private readonly plan: readonly PlannedRun[],
    private readonly version: string,
  ) {
    this.known = new Map(this.readRows().map(({ name, status, error }) => [name, { status, error }]));
  }

  /** Makes the folder, or takes up the sweep that is in it; a run there that would have to change is a ConfigError. */
  static open(path: string, plan: readonly PlannedRun[], version: string): SweepFolder {
    if (existsSync(join(path, 'config.json')))
      throw new ConfigError(`${path} holds a run, not a sweep; give another --output.`);
    try {
      mkdirSync(path, { recursive: true });
    } catch (error) {
      throw new ConfigError(`The folder ${path} cannot be made (${reason(error)}).`);
    }
    const folder = new SweepFolder(path, plan, version);
    for (const run of plan) folder.checkContinuation(run);
    return folder;
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
    if (!this.canContinue(run) && this.settingsOf(run)) rmSync(this.runPath(run), { recursive: true });
    this.mark(run, 'running');
  }

  mark({ name }: Configuration, status: Status, error: string | null = null): void {
    this.known.set(name, { status, error });
    const sweep = { version: this.version, runs: this.rows() };
    writeFileAtomic(this.file, new TextEncoder().encode(`${JSON.stringify(sweep, null, 2)}\n`));
  }

  /** A row for each configuration, with the figures that its run has written. */
  rows(): SweepRow[] {
    return this.plan.map((run) => {
      const { status = 'waiting', error = null } = this.known.get(run.name) ?? {};
      const { name, changes, parameters, mflops } = run;
      return { name, changes, status, error, parameters, mflops, ...figures(this.historyOf(run)) };
    });
  }

  private get file(): string {
    return join(this.path, 'sweep.json');
  }

  private readRows(): SweepRow[] {
    const sweep = readIfThere<{ runs?: SweepRow[] }>(this.file);
    if (sweep && !Array.isArray(sweep.runs)) throw new FormatError(this.file, 'is not the table of a sweep.');
    return sweep?.runs ?? [];
  }

  private historyOf(run: Configuration): EpochEntry[] {
    return readIfThere<EpochEntry[]>(join(this.runPath(run), 'history.json')) ?? [];
  }

  /** What the run in the folder was started with; null where there is none. */
  private settingsOf(run: Configuration): Settings | null {
    const config = readIfThere<{ settings: Settings }>(join(this.runPath(run), 'config.json'));
    return config && resolveSettings(config.settings);
  }

  private checkContinuation(run: PlannedRun): void {
    const before = this.settingsOf(run);
    if (!before) return;
    try {
      checkContinuation(before, run.settings);
    } catch (error) {
      throw new ConfigError(
        `${this.runPath(run)}: ${(error as Error).message} Give another --output for another sweep.`,
      );
    }
  }
}

const readIfThere = <T>(path: string): T | null => (existsSync(path) ? (readJson(path) as T) : null);

type Figures = Pick<
  SweepRow,
  'best_accuracy' | 'last_accuracy' | 'train_loss' | 'epochs' | 'seconds' | 'images_per_second'
>;

function figures(history: readonly EpochEntry[]): Figures {
  const accuracies = history.flatMap(({ val_accuracy }) => val_accuracy ?? []);
  const total = (of: (entry: EpochEntry) => number) => history.reduce((sum, entry) => sum + of(entry), 0);
  const seconds = total((entry) => entry.seconds);
  return {
    best_accuracy: accuracies.length > 0 ? Math.max(...accuracies) : null,
    last_accuracy: accuracies.at(-1) ?? null,
    train_loss: history.at(-1)?.train_loss ?? null,
    epochs: history.length,
    seconds,
    images_per_second: seconds > 0 ? total(({ images }) => images) / seconds : null,
  };
}
