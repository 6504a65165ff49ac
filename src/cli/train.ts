#!/usr/bin/env node
/** `node dist/train.js`: trains a model and writes a run directory. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { listAdapters } from '../gpu/adapters.js';
import type { OpenOptions } from '../gpu/device.js';
import { Gpu } from '../gpu/gpu.js';
import { formatBytes } from '../gpu/memory.js';
import { buildModel } from '../recipe/model.js';
import { phasesOf } from '../recipe/phases.js';
import { checkImageSize, presetNamed, presets } from '../recipe/presets.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { metadataField } from '../runs/checkpoint.js';
import { checkContinuation } from '../runs/continuation.js';
import { lockRun } from '../runs/lock.js';
import { type Trained, trainWithRestarts } from '../runs/restarts.js';
import { RunDirectory } from '../runs/run_directory.js';
import { isSameFolder, newRunPath, runOf } from '../runs/run_paths.js';
import { findState } from '../runs/state_files.js';
import { demandStepMemory, largestBatchSize } from '../training/forecast.js';
import { adapterOption, commandLine, settingOptions, typedSettings } from './arguments.js';
import { readConfig } from './config_file.js';
import { openData } from './files.js';
import { commandName, main, UsageError } from './main.js';
import { holdYoungGeneration } from './memory.js';
import { duration, makeReporter, percent } from './progress.js';
import { exitCode, Stopping } from './signals.js';
import { tuningNotes } from './tuning.js';

const usage = `${commandName('train')} [--preset NAME] [flags]\n\nTrains a Vision Transformer on this machine.`;

const ofSettings = settingOptions();

const options = {
  ...ofSettings,
  'batch-size': {
    ...ofSettings['batch-size'],
    type: 'string',
    describe: `${ofSettings['batch-size']?.describe}; auto for the largest power of two that fits --memory-budget`,
  },
  preset: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: `named settings: ${Object.entries(presets)
      .map(([name, { about }]) => `${name} (${about})`)
      .join('; ')}`,
  },
  config: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'JSON file of settings; flags override it',
  },
  init: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'safetensors file of initial weights',
  },
  resume: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'run directory, or state file of one, to continue',
  },
  output: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe:
      'run directory, which must not contain another run [runs/<time>-<dataset>; with --resume, that run]',
  },
  'take-lock': {
    type: 'boolean',
    group: 'Run:',
    default: false,
    describe: 'take over the lock of a process that died on another machine or in a removed container',
  },
  restarts: {
    type: 'number',
    group: 'Run:',
    requiresArg: true,
    default: 0,
    describe: 'device losses after which the run continues from its last saved state; 0 ends it at the first',
  },
  'memory-budget': {
    type: 'number',
    group: 'Run:',
    requiresArg: true,
    describe: 'limit of device memory, in megabytes [no limit]',
  },
  adapter: { ...adapterOption, group: 'Run:' },
  'list-adapters': {
    type: 'boolean',
    group: 'Run:',
    describe: 'print the number, name and driver of every adapter, and train nothing',
  },
  report: {
    type: 'boolean',
    group: 'Run:',
    default: false,
    describe: 'evaluate the finished run with evaluate.js, which writes RUN/report.html',
  },
  quiet: { type: 'boolean', group: 'Run:', default: false, describe: 'print nothing but errors' },
  json: {
    type: 'boolean',
    group: 'Run:',
    default: false,
    describe: 'print progress as JSON, one object a line',
  },
} as const;

type Parsed = Readonly<Record<string, unknown>> & {
  preset?: string;
  config?: string;
  init?: string;
  resume?: string;
  output?: string;
  'take-lock': boolean;
  restarts: number;
  'memory-budget'?: number;
  'batch-size'?: string;
  adapter?: string;
  report: boolean;
  quiet: boolean;
  json: boolean;
};

/** The number that --batch-size gives; undefined where it gives none, as `auto` does. */
function typedBatchSize({ 'batch-size': text, 'memory-budget': budget, resume }: Parsed): number | undefined {
  if (text === undefined) return undefined;
  if (text !== 'auto') {
    const size = text.trim() === '' ? Number.NaN : Number(text);
    if (!Number.isNaN(size)) return size;
    throw new UsageError(`--batch-size must be a number or auto, not ${JSON.stringify(text)}.`);
  }
  if (resume) throw new UsageError('--resume continues a run with its own --batch-size. Leave out auto.');
  if (budget !== undefined) return undefined;
  throw new UsageError(
    '--batch-size auto needs --memory-budget, because WebGPU does not say how much memory an adapter has.',
  );
}

function chooseSettings(parsed: Parsed): Settings {
  const typed = { ...typedSettings(parsed), batchSize: typedBatchSize(parsed) };
  if (!parsed.resume) {
    const preset = parsed.preset ? presetNamed(parsed.preset).settings : {};
    return resolveSettings(preset, parsed.config ? readConfig(parsed.config) : {}, typed);
  }
  if (parsed.preset || parsed.config || parsed.init)
    throw new UsageError(
      '--resume continues a run with its own settings. Leave out --preset, --config and --init.',
    );
  const { path, file } = findState(parsed.resume);
  const before = resolveSettings(metadataField<Settings>(path, file, 'settings'));
  const settings = resolveSettings(before, typed);
  checkContinuation(before, settings);
  return settings;
}

/** The options for opening the device, also after it was lost. */
function deviceOptions({ adapter, 'memory-budget': megabytes }: Parsed): OpenOptions {
  if (megabytes === undefined) return { adapter };
  if (!(megabytes > 0))
    throw new UsageError(`--memory-budget must be a positive number of megabytes, not ${megabytes}.`);
  return { adapter, budgetBytes: 1e6 * megabytes };
}

function checkUsage({ restarts }: Parsed): void {
  if (!Number.isSafeInteger(restarts) || restarts < 0)
    throw new UsageError(`--restarts must be a whole number, at least 0, not ${restarts}.`);
}

function summary({ outcome, trainer, gpu }: Trained, run: RunDirectory, seconds: number): string {
  const { best, last, lastEma, reason, history } = outcome;
  const ends = {
    finished: `All ${history.length} epochs done`,
    patience: 'Stopped early: no better accuracy in the last --patience evaluations',
    'max-steps': 'Stopped at --max-steps',
    'max-flops': 'Stopped at --max-flops',
    stopped: 'Stopped by a signal; the state is saved',
  };
  const lines = [`${ends[reason]} in ${duration(seconds)}.`];
  if (best)
    lines.push(
      `Best ${trainer.judge} accuracy ${percent(best.accuracy)}, epoch ${best.epoch}${best.weights === 'ema' ? ', EMA weights' : ''}.`,
    );
  if (lastEma)
    lines.push(
      `EMA weights at the end: ${trainer.judge} accuracy ${percent(lastEma.top1)}, loss ${lastEma.loss.toFixed(4)}.`,
    );
  if (last)
    lines.push(
      `Last ${trainer.judge} accuracy ${percent(last.top1)} (top-5 ${percent(last.top5)}), loss ${last.loss.toFixed(4)}, by class:`,
      ...columns(last.per_class.map(({ class: name, accuracy }) => `${name} ${percent(accuracy)}`)),
    );
  lines.push(
    `Results: ${run.path} (config.json, history.json, steps.jsonl, checkpoints/)`,
    reason === 'stopped'
      ? `Continue: ${commandName('train')} --resume ${run.path}`
      : `Evaluate: ${commandName('evaluate')} ${run.path}`,
    `Peak device memory: ${formatBytes(gpu.memory.peakBytes)}.`,
  );
  return lines.join('\n');
}

function columns(items: readonly string[], across = 4): string[] {
  const width = Math.max(...items.map((item) => item.length)) + 3;
  const rows = Math.ceil(items.length / across);
  return Array.from(
    { length: rows },
    (_, r) =>
      `  ${items
        .slice(r * across, (r + 1) * across)
        .map((item) => item.padEnd(width))
        .join('')
        .trimEnd()}`,
  );
}

/**
 * Evaluates the run and writes its report, in a process of its own: what draws plots is not loaded for training. Returns the
 * exit code.
 */
function writeReport(run: string, { adapter, quiet, json }: Parsed): number {
  const command = join(dirname(process.argv[1] as string), 'evaluate.js');
  const flags = adapter === undefined ? [] : ['--adapter', adapter];
  const output = quiet || json ? 'ignore' : 'inherit';
  const { status } = spawnSync(process.execPath, [command, run, ...flags], {
    stdio: ['ignore', output, 'inherit'],
  });
  return status ?? 1;
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed & { 'list-adapters'?: boolean };
  if (parsed['list-adapters']) {
    const adapters = await listAdapters();
    const lines = adapters.map(
      ({ name, driver, software, reachable }, number) =>
        `${number}: ${name}; ${software ? 'CPU' : 'GPU'}; driver ${driver || 'unknown'}${reachable ? '' : '; hidden by an adapter above whose name contains this one'}`,
    );
    console.log(lines.length > 0 ? lines.join('\n') : 'No WebGPU adapter was found.');
    return lines.length > 0 ? 0 : 1;
  }
  checkUsage(parsed);
  const opening = deviceOptions(parsed);
  const chosen = chooseSettings(parsed);
  const reporter = makeReporter(parsed);
  const dataset = await openData(chosen);
  if (parsed.preset)
    checkImageSize(parsed.preset, presetNamed(parsed.preset).imageSize, dataset, chosen.dataset);
  const model = buildModel(chosen, dataset); // refuses sizes that do not fit before any GPU work
  for (const phase of phasesOf(chosen)) buildModel(phase.settings, dataset);
  if (parsed.init && !existsSync(parsed.init)) throw new ConfigError(`--init ${parsed.init} does not exist.`);

  const origin = parsed.resume ? runOf(parsed.resume) : null;
  const output = parsed.output ?? origin ?? newRunPath(chosen.dataset, new Date());
  const gpu = await Gpu.open(opening);
  const auto = parsed['batch-size'] === 'auto';
  const settings = auto
    ? { ...chosen, batchSize: Math.max(1, await largestBatchSize(gpu, chosen, dataset)) }
    : chosen;
  const { bytes, kernels } = await demandStepMemory(gpu, settings, dataset);
  await gpu.prepare(kernels);
  const run = RunDirectory.open(output, { resume: origin !== null && isSameFolder(origin, output) });
  const lock = lockRun(run.path, { take: parsed['take-lock'] });
  if (!parsed.json && !parsed.quiet)
    console.log(
      [
        model.summary(),
        `On ${gpu.info.name}; ${dataset.name}; into ${run.path}`,
        `Batch size ${settings.batchSize}${auto ? ', chosen by --batch-size auto' : ''}; training steps need ${formatBytes(bytes)} of device memory.`,
        ...tuningNotes(gpu.info, parsed.adapter),
      ].join('\n'),
    );
  const { init, resume, restarts } = parsed;
  const began = performance.now();
  const stopping = new Stopping();
  const trained = await trainWithRestarts({
    ...{ gpu, settings, dataset, run, reporter, init, resume, restarts },
    reopen: () => Gpu.open(opening),
    environmentOf: ({ info }) => ({
      version: __VERSION__,
      adapter: info.name,
      driver: info.driver,
      seed: settings.seed,
      knobs: { ...info.knobs },
    }),
    prepared: (trainer) => {
      stopping.follow(trainer);
      holdYoungGeneration();
    },
    onStep: () => stopping.listen(),
  })
    .catch((error) => {
      lock.release();
      run.abandon();
      throw error;
    })
    .finally(() => reporter.close());
  const seconds = (performance.now() - began) / 1000;
  const { outcome } = trained;
  if (parsed.json) console.log(JSON.stringify({ event: 'end', ...outcome, run: run.path, seconds }));
  else if (!parsed.quiet) console.log(summary(trained, run, seconds));
  if (outcome.reason === 'stopped' && stopping.caught) return exitCode(stopping.caught);
  trained.gpu.close(); // its memory is free for the report
  return parsed.report ? writeReport(run.path, parsed) : 0;
});
