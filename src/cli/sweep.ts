#!/usr/bin/env node
/**
 * `node dist/sweep.js`: trains the configurations of a grid, a list or a ready-made study one after another. Each run is a
 * process of its own (`node dist/train.js`). So a lost device, a lack of memory or a driver crash ends one run and not the
 * sweep, all memory of a run is freed when it ends, and the same command line gives the same run outside of a sweep.
 */
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { describeDataset } from '../data/named.js';
import { writeFileAtomic } from '../io/atomic.js';
import { readJson } from '../io/read.js';
import { checkImageSize, type Preset, presetNamed } from '../recipe/presets.js';
import { resolveSettings, type SettingName, type Settings } from '../recipe/settings.js';
import { snake } from '../recipe/spelled.js';
import { planTable, sweepMarkdown, sweepPage, sweepTable } from '../report/sweep.js';
import { readCheckpoint } from '../runs/checkpoint.js';
import { SweepFolder } from '../sweeps/folder.js';
import { type Configuration, crossProduct, parseAxis, parseList } from '../sweeps/grid.js';
import { checkNames, type PlannedRun, planRun } from '../sweeps/plan.js';
import { configurationsOf, studies, studyNamed } from '../sweeps/studies.js';
import { adapterOption, commandLine, settingFlags, settingOptions, typedSettings } from './arguments.js';
import { type ChildEnd, lastSentence, trainInChild } from './child.js';
import { readConfig } from './config_file.js';
import { openData } from './files.js';
import { commandName, main, UsageError } from './main.js';
import { exitCode, stopOnSignals, wasStopped } from './signals.js';

const usage = `${commandName('sweep')} --grid patch_size=2,4,8 [--grid depth=3,6] --output sweeps/NAME [flags]
${commandName('sweep')} --list FILE.json --output sweeps/NAME [flags]
${commandName('sweep')} --study NAME --output sweeps/NAME [flags]

Trains one configuration after another, each as a run in the sweep's folder, and compares them in sweep.md, sweep.json and sweep.html. Type the same command again to continue a sweep: finished runs are skipped, and an unfinished run continues from its last saved state.`;

const text = { type: 'string', requiresArg: true, group: 'Sweep:' } as const;
const options = {
  grid: {
    ...text,
    array: true,
    describe: 'a setting and its values, such as patch_size=2,4,8; several grids give all combinations',
  },
  list: { ...text, describe: 'JSON file with an array of objects of settings, each with an optional name' },
  study: {
    ...text,
    describe: `a ready-made sweep: ${Object.entries(studies)
      .map(([name, { about }]) => `${name} (${about})`)
      .join('; ')}`,
  },
  output: { ...text, describe: 'folder of the sweep' },
  'take-lock': {
    type: 'boolean',
    group: 'Sweep:',
    default: false,
    describe: 'take over locks of processes that died on another machine or in a removed container',
  },
  plan: {
    type: 'boolean',
    group: 'Sweep:',
    describe: 'print the configurations and their model sizes, and train nothing',
  },
  preset: { ...text, describe: 'preset that all configurations start from' },
  config: { ...text, describe: 'JSON file of settings for all configurations; flags override it' },
  init: { ...text, describe: 'safetensors file of initial weights for every run' },
  adapter: { ...adapterOption, group: 'Sweep:' },
  quiet: { type: 'boolean', group: 'Sweep:', default: false, describe: 'print no progress of the runs' },
  ...settingOptions(),
} as const;

interface Parsed extends Readonly<Record<string, unknown>> {
  readonly _: readonly string[];
  readonly grid?: readonly string[];
  readonly list?: string;
  readonly study?: string;
  readonly output?: string;
  readonly plan?: boolean;
  readonly preset?: string;
  readonly config?: string;
  readonly init?: string;
  readonly adapter?: string;
  readonly quiet: boolean;
  readonly 'take-lock': boolean;
}

type Layer = Partial<Record<string, unknown>>;

interface Base {
  readonly preset: (Preset & { readonly name: string }) | null;
  /** The settings that all configurations share. Later layers override earlier ones. */
  readonly layers: readonly Layer[];
}

function baseOf({ preset, study, config, ...parsed }: Parsed): Base {
  const chosen = study === undefined ? undefined : studyNamed(study);
  const name = preset ?? chosen?.preset;
  const named = name === undefined ? null : { ...presetNamed(name), name };
  const layers = [named?.settings, chosen?.budget, config ? readConfig(config) : {}, typedSettings(parsed)];
  return { preset: named, layers: layers.map((layer) => layer ?? {}) };
}

function configurations({ grid, list, study }: Parsed, { layers }: Base): Configuration[] {
  if ([grid, list, study].filter((given) => given !== undefined).length !== 1)
    throw new UsageError('Use exactly one of --grid, --list and --study.');
  if (study !== undefined) return configurationsOf(studyNamed(study), resolveSettings(...layers));
  return list === undefined
    ? crossProduct((grid as readonly string[]).map(parseAxis))
    : parseList(list, readJson(list));
}

/** Throws a ConfigError if every configuration overrides a flag that was typed. */
function refuseIdle(typed: Layer, all: readonly Configuration[]): void {
  const idle = (Object.keys(typed) as SettingName[]).find((name) =>
    all.every(({ changes }) => name in changes && changes[name] !== typed[name]),
  );
  if (idle)
    throw new ConfigError(
      `--${snake(idle).replaceAll('_', '-')} has no effect: every configuration sets it. Leave it out.`,
    );
}

/** Throws if the --init file is missing or damaged. Each run checks whether the weights fit its own model. */
function checkInit(path: string): void {
  if (!existsSync(path)) throw new ConfigError(`--init ${path} does not exist.`);
  readCheckpoint(path);
}

/** Resolves every configuration and builds its model, so that an impossible one is refused before anything runs. */
async function planOf(parsed: Parsed): Promise<PlannedRun[]> {
  const base = baseOf(parsed);
  const all = configurations(parsed, base);
  checkNames(all);
  refuseIdle(typedSettings(parsed), all);
  if (parsed.init) checkInit(parsed.init);
  const plan: PlannedRun[] = [];
  const imagesOf = async (settings: Settings) => {
    const images = describeDataset(settings.dataset) ?? (await openData(settings));
    if (base.preset) checkImageSize(base.preset.name, base.preset.imageSize, images, settings.dataset);
    return images;
  };
  for (const configuration of all) plan.push(await planRun(configuration, base.layers, imagesOf));
  return plan;
}

/** Downloads the missing data sets of the plan before the first run. */
async function provideData(plan: readonly PlannedRun[]): Promise<void> {
  const places = new Map(
    plan.map(({ settings: { dataset, dataDir } }) => [`${dataset}\n${dataDir}`, { dataset, dataDir }]),
  );
  for (const place of places.values()) await openData(place);
}

class Sweep {
  private child: ChildProcess | null = null;

  constructor(
    private readonly folder: SweepFolder,
    private readonly parsed: Parsed,
  ) {}

  /** Sends a signal to the current run, which saves its state and ends. */
  stop(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Trains or continues one configuration, and records how it ended. */
  async run(planned: PlannedRun): Promise<void> {
    const { folder } = this;
    const continued = folder.canContinue(planned);
    folder.begin(planned);
    const end = await trainInChild(this.argumentsFor(planned, continued), (child) => {
      this.child = child;
    });
    this.child = null;
    if (end.code === 0) folder.mark(planned, 'finished');
    else if (wasStopped(end.code)) folder.mark(planned, 'stopped');
    else this.fail(planned, end);
    await this.write();
  }

  private fail(planned: PlannedRun, { code, said }: ChildEnd): void {
    const sentence = lastSentence(said);
    // A process that ended without an error message has crashed: all of its standard error may help.
    if (sentence === null) console.error(said.trim());
    const error = sentence ?? `The process ended with code ${code}.`;
    console.error(`patchlight: ${planned.name} failed: ${error}`);
    this.folder.mark(planned, 'failed', error);
  }

  /** Writes sweep.md and sweep.html. */
  async write(): Promise<void> {
    const { path } = this.folder;
    const rows = this.folder.rows();
    const title = `Sweep: ${basename(resolve(path))}`;
    const save = (name: string, content: string) =>
      writeFileAtomic(join(path, name), new TextEncoder().encode(content));
    save('sweep.md', sweepMarkdown(title, rows));
    save('sweep.html', await sweepPage(title, rows));
  }

  private argumentsFor(planned: PlannedRun, continued: boolean): string[] {
    const { init, adapter, quiet, 'take-lock': take } = this.parsed;
    const path = this.folder.runPath(planned);
    return [
      ...(continued ? ['--resume', path] : ['--output', path, ...(init ? ['--init', init] : [])]),
      ...(adapter ? ['--adapter', adapter] : []),
      ...(quiet ? ['--quiet'] : []),
      ...(take ? ['--take-lock'] : []),
      ...settingFlags(planned.settings),
    ];
  }
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed;
  const plan = await planOf(parsed);
  if (parsed.plan) {
    console.log(planTable(plan));
    return 0;
  }
  if (parsed.output === undefined)
    throw new UsageError('Name the folder of the sweep: --output sweeps/NAME. Only --plan needs none.');
  await provideData(plan);
  const folder = SweepFolder.open(parsed.output, plan, __VERSION__, { take: parsed['take-lock'] });
  const sweep = new Sweep(folder, parsed);
  const caught = stopOnSignals((signal) => sweep.stop(signal));
  for (const [i, planned] of plan.entries()) {
    if (caught()) break;
    const done = folder.isFinished(planned);
    if (!parsed.quiet)
      console.log(`[${i + 1}/${plan.length}] ${planned.name}${done ? ': finished before' : ''}`);
    if (!done) await sweep.run(planned);
  }
  await sweep.write();
  console.log(`\n${sweepTable(folder.rows())}\n\nResults: ${folder.path} (sweep.md, sweep.json, sweep.html)`);
  const signal = caught();
  if (signal) {
    console.log('Stopped by a signal. Type the same command again to continue.');
    return exitCode(signal);
  }
  return plan.every((planned) => folder.isFinished(planned)) ? 0 : 1;
});
