#!/usr/bin/env node
/** `node dist/bench.js`: measures the adapter's peak bandwidth and FLOP/s, every op against them, and training steps. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ceilings, measureCeilings } from '../bench/ceilings.js';
import { type Effort, quick, thorough } from '../bench/measure.js';
import { benchOps, type OpRow } from '../bench/ops.js';
import { StepBench, type StepRow } from '../bench/step.js';
import { opTable, stepTable } from '../bench/table.js';
import { table } from '../core/table.js';
import type { AdapterInfo } from '../gpu/device.js';
import { Gpu } from '../gpu/gpu.js';
import { kebab, type SettingName, type Settings } from '../recipe/settings.js';
import { adapterOption, commandLine, settingOptions, typedSettings } from './arguments.js';
import { demandPlace, writeJson } from './files.js';
import { commandName, main, UsageError } from './main.js';
import { checkTuneFlags, type TuneFlags, tuneAdapter, tuneOptions, tuningNotes } from './tuning.js';

const usage = `${commandName('bench')} [flags]          peak rates of the adapter, every op, and training steps of four models
${commandName('bench')} step [flags]     training steps of one model
${commandName('bench')} tune [flags]     kernels and their parameters for this adapter; --save keeps them for the next start

Times kernels and training steps on this machine.`;

// Settings that change the time of a training step.
const OF_A_STEP =
  /^(batch-size|augment|scale-min|color-jitter|random-erasing|mixup|cutmix|optimizer|layer-decay|clip-grad|ema-decay|amp|grad-checkpointing)$/;
const stepOptions = Object.fromEntries(
  Object.entries(settingOptions()).filter(
    ([name, { group }]) => OF_A_STEP.test(name) || group === 'Model:' || /drop/.test(name),
  ),
);

const options = {
  filter: {
    type: 'string',
    requiresArg: true,
    describe: 'regular expression; only rows whose "op shape" matches are measured',
  },
  quick: {
    type: 'boolean',
    default: false,
    describe: 'fewer repetitions, and only the kernel variants that this adapter uses',
  },
  json: { type: 'string', requiresArg: true, describe: 'JSON file to write the rows to' },
  save: {
    type: 'boolean',
    default: false,
    describe:
      'write tables and rows to bench/results/<adapter>.*; of tune: keep the tuning for the next start',
  },
  adapter: adapterOption,
  ...tuneOptions,
  steps: {
    type: 'number',
    requiresArg: true,
    group: 'Step:',
    describe: 'number of training steps to time [10; with --quick 3]',
  },
  profile: {
    type: 'boolean',
    default: false,
    group: 'Step:',
    describe: 'print the device time of each kernel',
  },
  'image-size': {
    type: 'number',
    default: 32,
    group: 'Model:',
    describe: 'height and width of an image, in pixels',
  },
  ...stepOptions,
} as const;

/** The models of the full benchmark: ViT-Tiny, a wide one, one of the quickstart's width, and step-small of bench/peers. */
const MODELS: readonly Partial<Settings>[] = [
  { embedDim: 192, depth: 12, numHeads: 3, batchSize: 64 },
  { embedDim: 256, depth: 6, numHeads: 8, batchSize: 64 },
  { embedDim: 96, depth: 6, numHeads: 3, batchSize: 64 },
  { embedDim: 64, depth: 2, numHeads: 4, mlpRatio: 2, pool: 'mean', batchSize: 32 },
];

interface Parsed extends TuneFlags, Readonly<Record<string, unknown>> {
  readonly _: readonly (string | number)[];
  readonly filter?: string;
  readonly quick: boolean;
  readonly json?: string;
  readonly adapter?: string;
  readonly steps?: number;
  readonly profile: boolean;
  readonly 'image-size': number;
  readonly amp?: boolean;
}

/** Larger values are taken for typing mistakes. */
const MOST_STEPS = 1_000_000;
const LARGEST_IMAGE = 4096;

const isCount = (value: number, most: number): boolean =>
  Number.isInteger(value) && value > 0 && value <= most;

function check(parsed: Parsed): boolean {
  const [command, ...rest] = parsed._;
  if (rest.length > 0 || (command !== undefined && command !== 'step' && command !== 'tune'))
    throw new UsageError(`There is no command "${parsed._.join(' ')}". The commands are step and tune.`);
  const typed = Object.keys(typedSettings(parsed)) as SettingName[];
  const ofModel = typed.filter((name) => name !== 'amp' || command === 'tune');
  if (command !== 'step' && (ofModel.length > 0 || parsed.profile || parsed['image-size'] !== 32))
    throw new UsageError(
      `${ofModel[0] ? `--${kebab(ofModel[0])}` : parsed.profile ? '--profile' : '--image-size'} only works with: ${commandName('bench')} step`,
    );
  checkTuneFlags(parsed, command === 'tune');
  const { steps } = parsed;
  if (steps !== undefined && !isCount(steps, MOST_STEPS))
    throw new UsageError(`--steps must be a positive whole number up to ${MOST_STEPS}, not ${steps}.`);
  if (!isCount(parsed['image-size'], LARGEST_IMAGE))
    throw new UsageError(
      `--image-size must be a whole number of pixels from 1 to ${LARGEST_IMAGE}, not ${parsed['image-size']}.`,
    );
  if (parsed.json) demandPlace('json', parsed.json);
  return command === 'step';
}

function matcher(filter: string): (name: string) => boolean {
  try {
    const pattern = new RegExp(filter);
    return (name) => pattern.test(name);
  } catch (error) {
    throw new UsageError(`--filter: ${(error as Error).message}`);
  }
}

/** Measures one model on a newly opened device, so that its peak memory and its first step do not depend on other models. */
async function benchStep(parsed: Parsed, settings: Partial<Settings>, effort: Effort): Promise<StepRow> {
  const gpu = await Gpu.open({ adapter: parsed.adapter });
  const bench = new StepBench(gpu, settings, parsed['image-size']);
  const row = await bench.measure(parsed.steps ?? effort.steps);
  if (parsed.profile) await profile(gpu, bench);
  gpu.close();
  return row;
}

async function profile(gpu: Gpu, bench: StepBench, steps = 3): Promise<void> {
  const { profiler } = gpu;
  if (!profiler) {
    console.log('This adapter has no timestamp queries: no profile.');
    return;
  }
  profiler.enabled = true;
  for (let i = 0; i < steps; i++) {
    bench.step();
    await gpu.finish();
    await profiler.collect();
  }
  profiler.enabled = false;
  const times = profiler.table();
  const total = times.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const rows = times.map(({ kernel, work, calls, milliseconds }) => [
    kernel,
    work,
    calls / steps,
    milliseconds / steps,
    (100 * milliseconds) / total,
  ]);
  console.log(`${table(['kernel', 'work', 'calls a step', 'ms a step', '%'], rows)}\n`);
}

function ceilingRows({ gbps, gflops }: Ceilings): OpRow[] {
  const row = { variant: '-', percent_of_ceiling: 100 };
  return [
    { op: 'ceiling', shape: 'copy of 64 MiB', ms: 2 ** 27 / gbps / 1e6, gflops: 0, gbps, ...row },
    { op: 'ceiling', shape: 'multiply-adds, 1 TFLOP', ms: 1e6 / gflops, gflops, gbps: 0, ...row },
  ];
}

function heading({ name, driver }: AdapterInfo, command: string): string {
  const root = join(import.meta.dirname, '..');
  const webgpu = JSON.parse(readFileSync(join(root, 'node_modules/webgpu/package.json'), 'utf8')).version;
  const day = new Date().toISOString().slice(0, 10);
  return `${name}; ${driver}\n${day}, Patchlight ${__VERSION__}, Node ${process.versions.node}, webgpu ${webgpu}: \`${command}\``;
}

await main(async () => {
  const parsed = commandLine(usage, options).demandCommand(0, Infinity).parseSync() as unknown as Parsed;
  const one = check(parsed);
  const effort = parsed.quick ? quick : thorough;
  const wanted = matcher(parsed.filter ?? '');
  const gpu = await Gpu.open({ adapter: parsed.adapter });
  const command = [commandName('bench'), ...process.argv.slice(2)].join(' ');
  const sections = [heading(gpu.info, command)];
  const rows: (OpRow | StepRow)[] = [];
  const say = (text: string) => {
    sections.push(text);
    console.log(`${text}\n`);
  };
  console.log(`${sections[0]}\n`);
  if (parsed._[0] === 'tune') {
    return tuneAdapter(gpu, effort, command, parsed);
  }
  for (const note of tuningNotes(gpu.info, parsed.adapter)) console.log(`${note}\n`);
  if (!one) {
    const ceilings = await measureCeilings(gpu, effort);
    const half = parsed.amp === true;
    const found = await benchOps(gpu, { effort, ceilings, variants: !parsed.quick, half, wanted });
    rows.push(...ceilingRows(ceilings), ...found);
    say(opTable(rows as OpRow[]));
  }
  gpu.close();
  const chosen = one
    ? [typedSettings(parsed) as Partial<Settings>]
    : MODELS.filter((it) => wanted(`step ${it.embedDim}/${it.depth}/${it.numHeads}`)).map((it) => ({
        ...it,
        amp: parsed.amp === true,
      }));
  const steps: StepRow[] = [];
  for (const settings of chosen) steps.push(await benchStep(parsed, settings, effort));
  if (steps.length > 0) say(stepTable(steps));
  rows.push(...steps);
  if (parsed.json) writeJson(parsed.json, rows);
  if (parsed.save) {
    const folder = join(import.meta.dirname, '../bench/results');
    mkdirSync(folder, { recursive: true });
    const file = join(
      folder,
      `${gpu.info.name
        .toLowerCase()
        .replace(/[^a-z0-9]+/g, '-')
        .replace(/^-|-$/g, '')}${one ? '-step' : ''}`,
    );
    writeFileSync(`${file}.md`, `${sections.join('\n\n')}\n`);
    writeJson(`${file}.json`, rows);
    console.log(`Saved: ${file}.md and .json`);
  }
  return 0;
});
