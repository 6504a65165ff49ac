/** The runs of a sweep, from its command line. Everything impossible is refused here, before anything runs. */
import { existsSync } from 'node:fs';
import { ConfigError } from '../core/errors.js';
import { describeDataset } from '../data/named.js';
import { trainingImages } from '../data/sources.js';
import { readJson } from '../io/read.js';
import { checkImageSize, type Preset, presetNamed } from '../recipe/presets.js';
import { resolveSettings, type SettingName, type Settings } from '../recipe/settings.js';
import { snake } from '../recipe/spelled.js';
import { readCheckpoint } from '../runs/checkpoint.js';
import { flopsOfEpoch } from '../sweeps/budget.js';
import { type Configuration, crossProduct, nameBy, parseAxis, parseList } from '../sweeps/grid.js';
import { checkNames, type PlannedRun, planRun } from '../sweeps/plan.js';
import { checkRungs, onRung, parseRungs, type Rung, type Stage } from '../sweeps/rungs.js';
import { inSeeds } from '../sweeps/seeds.js';
import { atEqualFlops, configurationsOf, flopsBudget, type Study, studyNamed } from '../sweeps/studies.js';
import { typedSettings } from './arguments.js';
import { readConfig } from './config_file.js';
import { openData } from './files.js';
import { UsageError } from './main.js';

/** The flags of a command line that say what is trained. */
export interface Wanted extends Readonly<Record<string, unknown>> {
  readonly grid?: readonly string[];
  readonly list?: string;
  readonly study?: string;
  readonly seeds?: number;
  readonly rung?: readonly string[];
  readonly preset?: string;
  readonly config?: string;
  readonly init?: string;
}

type Layer = Partial<Record<string, unknown>>;

interface Base {
  readonly preset: (Preset & { readonly name: string }) | null;
  /** The settings that all configurations share. Later layers override earlier ones. */
  readonly layers: readonly Layer[];
  /** True if the command line or the --config file says how many epochs warm up. */
  readonly keepsWarmup: boolean;
}

function baseOf({ preset, study, config, ...wanted }: Wanted): Base {
  const chosen = study === undefined ? undefined : studyNamed(study);
  const name = preset ?? chosen?.preset;
  const named = name === undefined ? null : { ...presetNamed(name), name };
  const own: Layer[] = [config ? readConfig(config) : {}, typedSettings(wanted)];
  const start: Layer = named?.settings ?? {};
  // Values are checked later, with the study's budget.
  const limit = [start, ...own].findLast(({ maxFlops }) => maxFlops !== undefined)?.maxFlops;
  const budget = chosen && (Number(limit ?? 0) > 0 ? flopsBudget(chosen) : chosen.budget);
  const keepsWarmup = own.some(({ warmupEpochs }) => warmupEpochs !== undefined);
  return { preset: named, layers: [start, budget ?? {}, ...own], keepsWarmup };
}

async function configurations({ grid, list, study }: Wanted, base: Base): Promise<Configuration[]> {
  if ([grid, list, study].filter((given) => given !== undefined).length !== 1)
    throw new UsageError('Use exactly one of --grid, --list and --study.');
  if (study !== undefined) return studied(studyNamed(study), base);
  return list === undefined
    ? crossProduct((grid as readonly string[]).map(parseAxis))
    : parseList(list, readJson(list));
}

async function studied(study: Study, base: Base): Promise<Configuration[]> {
  const { layers, keepsWarmup } = base;
  const shared = resolveSettings(...layers);
  const { maxFlops } = shared;
  if (maxFlops === 0) return configurationsOf(study, shared);
  const epochsFor = async (changes: Partial<Settings>): Promise<number> => {
    const { settings, mflops } = await planRun(nameBy(changes), layers, imagesOf(base));
    return maxFlops / flopsOfEpoch(mflops, imagesTrainedOn(settings));
  };
  return atEqualFlops(study, shared, { keepsWarmup, epochsFor });
}

/** Training images of an epoch, without those that are held out. */
function imagesTrainedOn({ dataset, limitTrain, valSplit }: Settings): number {
  const all = trainingImages(dataset);
  return Math.max(1, (limitTrain > 0 ? Math.min(limitTrain, all) : all) - valSplit);
}

/** The rungs of the command line; none if it has no --rung. */
function rungsOf({ rung, seeds, study }: Wanted): Rung[] {
  if (seeds !== undefined && !(Number.isInteger(seeds) && seeds >= 1))
    throw new UsageError(`--seeds must be a whole number from 1, not ${seeds}.`);
  if (rung === undefined) return [];
  if (seeds !== undefined)
    throw new UsageError('--seeds does not go with --rung. Say it in a rung: --rung max_steps=1000,seeds=3.');
  if (study !== undefined)
    throw new UsageError('--rung does not go with --study, whose configurations are all compared.');
  return parseRungs(rung);
}

/** Throws a ConfigError if each of `all`, called `what`, overrides a flag that was typed. */
function refuseIdle(typed: Layer, all: readonly Layer[], what: string): void {
  const idle = (Object.keys(typed) as SettingName[]).find(
    (name) => all.length > 0 && all.every((layer) => name in layer && layer[name] !== typed[name]),
  );
  if (idle)
    throw new ConfigError(
      `--${snake(idle).replaceAll('_', '-')} has no effect: every ${what} sets it. Leave it out.`,
    );
}

/** Throws if the --init file is missing or damaged. Each run checks whether the weights fit its own model. */
function checkInit(path: string): void {
  if (!existsSync(path)) throw new ConfigError(`--init ${path} does not exist.`);
  readCheckpoint(path);
}

/**
 * Resolves every configuration and builds its model, so that an impossible one is refused before anything runs: one stage, or
 * one for each rung.
 */
export async function stagesOf(wanted: Wanted): Promise<Stage[]> {
  const base = baseOf(wanted);
  const all = await configurations(wanted, base);
  checkNames(all);
  const typed = typedSettings(wanted);
  refuseIdle(
    typed,
    all.map(({ changes }) => changes),
    'configuration',
  );
  const rungs = rungsOf(wanted);
  refuseIdle(
    typed,
    rungs.map(({ settings }) => settings),
    'rung',
  );
  checkRungs(rungs, all);
  if (wanted.init) checkInit(wanted.init);
  const planned = (layers: readonly Layer[]) => plannedRuns(all, { ...base, layers });
  if (rungs.length === 0) {
    const seeds = wanted.seeds ?? 1;
    const runs = inSeeds(await planned(base.layers), seeds);
    return [{ rung: null, configurations: all.length, seeds, runs }];
  }
  const stages: Stage[] = [];
  for (const rung of rungs) {
    const once = (await planned([...base.layers, rung.settings])).map((run) => onRung(run, rung.number));
    const trained = rungs[rung.number - 2]?.keep ?? all.length;
    stages.push({ rung, configurations: trained, seeds: rung.seeds, runs: inSeeds(once, rung.seeds) });
  }
  return stages;
}

/** Describes the images of a configuration's data set. Throws a ConfigError if they are not those that the preset is for. */
const imagesOf =
  ({ preset }: Base) =>
  async (settings: Settings) => {
    const images = describeDataset(settings.dataset) ?? (await openData(settings));
    if (preset) checkImageSize(preset.name, preset.imageSize, images, settings.dataset);
    return images;
  };

async function plannedRuns(all: readonly Configuration[], base: Base): Promise<PlannedRun[]> {
  const plan: PlannedRun[] = [];
  for (const configuration of all) plan.push(await planRun(configuration, base.layers, imagesOf(base)));
  return plan;
}
