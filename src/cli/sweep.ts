#!/usr/bin/env node
/**
 * `node dist/sweep.js`: trains the configurations of a grid, a list or a ready-made study one after another. Each run is a
 * process of its own (`node dist/train.js`). So a lost device, a lack of memory or a driver crash ends one run and not the
 * sweep, all memory of a run is freed when it ends, and the same command line gives the same run outside of a sweep.
 */
import { basename, resolve } from 'node:path';
import { sweepTable } from '../report/sweep.js';
import { planText } from '../report/sweep_plan.js';
import { SweepFolder } from '../sweeps/folder.js';
import type { PlannedRun } from '../sweeps/plan.js';
import { Results } from '../sweeps/results.js';
import { studies } from '../sweeps/studies.js';
import { adapterOption, commandLine, settingOptions } from './arguments.js';
import { commitOfPackage } from './commit.js';
import { openData } from './files.js';
import { commandName, main, UsageError } from './main.js';
import { exitCode, stopOnSignals } from './signals.js';
import { stagesOf, type Wanted } from './sweep_plan.js';
import { Sweep } from './sweep_run.js';

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
  seeds: {
    type: 'number',
    group: 'Sweep:',
    describe: 'runs of each configuration, with --seed, --seed + 1 and so on [1]',
  },
  rung: {
    ...text,
    array: true,
    describe:
      'successive halving: the settings of a round, how many configurations it keeps for the next --rung, and its seeds, such as max_steps=1000,keep=8 or max_steps=4000,seeds=3',
  },
  output: { ...text, describe: 'folder of the sweep' },
  results: {
    ...text,
    describe: 'folder for a small JSON file of each finished run, in a subfolder with the name of the sweep',
  },
  label: { ...text, describe: 'name of the subfolder of --results, in place of that of the sweep' },
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

interface Parsed extends Wanted {
  readonly output?: string;
  readonly results?: string;
  readonly label?: string;
  readonly plan?: boolean;
  readonly adapter?: string;
  readonly quiet: boolean;
  readonly 'take-lock': boolean;
}

/** Downloads the missing data sets of the plan before the first run. */
async function provideData(plan: readonly PlannedRun[]): Promise<void> {
  const places = new Map(
    plan.map(({ settings: { dataset, dataDir } }) => [`${dataset}\n${dataDir}`, { dataset, dataDir }]),
  );
  for (const place of places.values()) await openData(place);
}

/** The results of a sweep in the folder `output`; null without --results. */
function resultsOf({ results, label, init }: Parsed, output: string): Results | null {
  if (label !== undefined && results === undefined)
    throw new UsageError('--label names a folder of --results. Add --results DIR.');
  if (label !== undefined && !/^[\w=+-][\w=,.+-]*$/.test(label))
    throw new UsageError(`--label must be letters, digits and _ = , . + -, not ${JSON.stringify(label)}.`);
  if (results === undefined) return null;
  const origin = { commit: commitOfPackage(), init: init ?? null };
  return new Results(results, label ?? basename(resolve(output)), origin);
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed;
  const stages = await stagesOf(parsed);
  if (parsed.plan) {
    console.log(planText(stages));
    return 0;
  }
  if (parsed.output === undefined)
    throw new UsageError('Name the folder of the sweep: --output sweeps/NAME. Only --plan needs none.');
  const plan = stages.flatMap(({ runs }) => runs);
  const results = resultsOf(parsed, parsed.output);
  results?.demandOwn(plan);
  await provideData(plan);
  const folder = SweepFolder.open(parsed.output, plan, __VERSION__, { take: parsed['take-lock'] });
  const caught = stopOnSignals((signal) => sweep.stop(signal));
  const sweep = new Sweep(folder, parsed, results, caught);
  const whole = await sweep.train(stages);
  await sweep.write();
  console.log(`\n${sweepTable(folder.rows())}\n\nResults: ${folder.path} (sweep.md, sweep.json, sweep.html)`);
  const signal = caught();
  if (signal) {
    console.log('Stopped by a signal. Type the same command again to continue.');
    return exitCode(signal);
  }
  return whole ? 0 : 1;
});
