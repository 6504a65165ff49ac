/** The configurations of a sweep, resolved and checked before any of them runs. */
import { ConfigError, PatchlightError } from '../core/errors.js';
import type { DatasetDescription } from '../data/dataset.js';
import { buildModel } from '../recipe/model.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import type { Configuration } from './grid.js';

/** A run of a sweep. Its `name` is its folder in that of the sweep. */
export interface PlannedRun extends Configuration {
  /** The name of its configuration: runs that differ only in their seed, or in their rung, share it. */
  readonly configuration: string;
  /** The rung of successive halving that the run belongs to, from 1; null in other sweeps. */
  readonly rung: number | null;
  readonly settings: Settings;
  /** Number of the model's parameters. */
  readonly parameters: number;
  /** Millions of floating-point operations of one image's forward pass. */
  readonly mflops: number;
}

type Layer = Partial<Record<string, unknown>>;

/**
 * Resolves a configuration over the shared settings, and builds its model for the images of its data set. Throws a
 * ConfigError that names the configuration if its settings do not fit together.
 */
export async function planRun(
  { name, changes }: Configuration,
  shared: readonly Layer[],
  imagesOf: (settings: Settings) => Promise<DatasetDescription>,
): Promise<PlannedRun> {
  try {
    const settings = resolveSettings(...shared, changes);
    const model = buildModel(settings, await imagesOf(settings));
    const size = { parameters: model.numParams(), mflops: model.flops() / 1e6 };
    return { name, configuration: name, rung: null, changes, settings, ...size };
  } catch (error) {
    if (error instanceof PatchlightError) throw new ConfigError(`${name}: ${error.message}`);
    throw error;
  }
}

/** File names that a configuration cannot have: the sweep's own files, and config.json, which marks a run's folder. */
const OWN_FILES = ['sweep.json', 'sweep.md', 'sweep.html', 'run.lock', 'config.json'];

/** In characters. File systems allow 255 bytes. */
const LONGEST_NAME = 200;

/** Throws a ConfigError if a configuration's name cannot be the name of its own folder. */
export function checkNames(configurations: readonly Configuration[]): void {
  const names = configurations.map(({ name }) => name);
  const twin = names.find((name, i) => names.indexOf(name) !== i);
  if (twin) throw new ConfigError(`Two configurations are called ${twin}. Give each its own name.`);
  const own = names.find((name) => OWN_FILES.includes(name));
  if (own)
    throw new ConfigError(
      `a configuration cannot be called ${own}: the sweep itself has a file of that name. Give it another name.`,
    );
  const rung = names.find((name) => /^rung-\d+$/.test(name));
  if (rung)
    throw new ConfigError(
      `a configuration cannot be called ${rung}: a sweep with --rung has a folder of that name. Give it another name.`,
    );
  const long = names.find((name) => name.length > LONGEST_NAME);
  if (long)
    throw new ConfigError(
      `the name of a configuration has ${long.length} characters, which is too long for a folder. Give it a name of at most ${LONGEST_NAME} characters in a --list file.`,
    );
}
