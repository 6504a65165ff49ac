#!/usr/bin/env node
/** `node dist/train.js`: trains a Vision Transformer and writes a run directory. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { openDataset } from '../data/sources.js';
import { adapterNames } from '../gpu/binding.js';
import { Gpu } from '../gpu/gpu.js';
import { formatBytes } from '../gpu/pool.js';
import { VisionTransformer } from '../models/vit.js';
import { checkImageSize, modelOptions } from '../train/build.js';
import { findCheckpoint, metadataField, readCheckpoint } from '../train/checkpoint.js';
import { presetNamed, presets } from '../train/presets.js';
import { newRunPath, RunDirectory } from '../train/run_directory.js';
import { resolveSettings, type Settings, settingNames } from '../train/settings.js';
import { type Outcome, Trainer } from '../train/trainer.js';
import { commandLine, settingOptions, typedSettings } from './arguments.js';
import { main, UsageError } from './main.js';
import { downloadProgress, duration, makeReporter, percent } from './progress.js';

const usage = 'node dist/train.js [--preset NAME] [flags]\n\nTrains a Vision Transformer on this machine.';

const options = {
  ...settingOptions(),
  preset: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: `settings by name: ${Object.entries(presets)
      .map(([name, { about }]) => `${name} (${about})`)
      .join('; ')}`,
  },
  config: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'a JSON file of settings; flags win over it',
  },
  init: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'a safetensors file of weights to start from',
  },
  resume: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'a run directory, or its state file, to continue',
  },
  output: {
    type: 'string',
    group: 'Run:',
    requiresArg: true,
    describe: 'the run directory [runs/<time>-<dataset>]',
  },
  adapter: { type: 'string', group: 'Run:', requiresArg: true, describe: "a part of an adapter's name" },
  'list-adapters': { type: 'boolean', group: 'Run:', describe: 'print the names of the adapters and end' },
  quiet: { type: 'boolean', group: 'Run:', default: false, describe: 'print nothing but errors' },
  json: { type: 'boolean', group: 'Run:', default: false, describe: 'print one JSON object a line' },
} as const;

// What may differ when a run is continued: how long it goes and what it says, not what it computes.
const FREE_TO_CHANGE = new Set([
  'epochs',
  'maxSteps',
  'patience',
  'logInterval',
  'evalInterval',
  'checkpointInterval',
  'dataDir',
]);

type Parsed = Readonly<Record<string, unknown>> & {
  preset?: string;
  config?: string;
  init?: string;
  resume?: string;
  output?: string;
  adapter?: string;
  quiet: boolean;
  json: boolean;
};

function readConfig(path: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path} is not a readable JSON file: ${(error as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ConfigError(`${path} must hold one JSON object of settings.`);
  // A run's own config.json has them one level down.
  return ('settings' in value ? value.settings : value) as Record<string, unknown>;
}

function chooseSettings(parsed: Parsed): Settings {
  const typed = typedSettings(parsed);
  if (!parsed.resume) {
    const preset = parsed.preset ? presetNamed(parsed.preset).settings : {};
    return resolveSettings(preset, parsed.config ? readConfig(parsed.config) : {}, typed);
  }
  if (parsed.preset || parsed.config || parsed.init)
    throw new UsageError(
      '--resume continues a run with its own settings: it goes without --preset, --config and --init.',
    );
  const path = findCheckpoint(parsed.resume, 'state');
  const before = resolveSettings(metadataField<Settings>(path, readCheckpoint(path), 'settings'));
  const settings = resolveSettings(before, typed);
  const changed = settingNames.filter((name) => settings[name] !== before[name] && !FREE_TO_CHANGE.has(name));
  if (changed.length > 0)
    throw new ConfigError(
      `A continued run must keep its settings: ${changed.map((name) => `${name} was ${before[name]}, now ${settings[name]}`).join('; ')}.`,
    );
  return settings;
}

/** SIGINT and SIGTERM end the run after the step under way, saved; a second one, a moment later, ends it at once. */
function stopOnSignals(trainer: Trainer): () => NodeJS.Signals | null {
  let caught: { signal: NodeJS.Signals; at: number } | null = null;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
      // npm and shells may deliver one key press twice.
      if (caught && Date.now() - caught.at > 1000) process.exit(exitCode(signal));
      caught ??= { signal, at: Date.now() };
      trainer.stopRequested = true;
    });
  return () => caught?.signal ?? null;
}

const exitCode = (signal: NodeJS.Signals): number => (signal === 'SIGINT' ? 130 : 143);

function summary(outcome: Outcome, run: RunDirectory, trainer: Trainer, seconds: number): string {
  const { best, last, lastEma, reason, history } = outcome;
  const ends = {
    finished: `All ${history.length} epochs done`,
    patience: 'Stopped early: no better accuracy for the epochs of --patience',
    'max-steps': 'Stopped at --max-steps',
    stopped: 'Stopped by a signal; the state is saved',
  };
  const lines = [`${ends[reason]} in ${duration(seconds)}.`];
  if (best)
    lines.push(
      `Best ${trainer.judge} accuracy ${percent(best.accuracy)}, epoch ${best.epoch}${best.weights === 'ema' ? ', of the averaged weights' : ''}.`,
    );
  if (lastEma)
    lines.push(
      `Averaged weights at the end: ${trainer.judge} accuracy ${percent(lastEma.top1)}, loss ${lastEma.loss.toFixed(4)}.`,
    );
  if (last)
    lines.push(
      `Last ${trainer.judge} accuracy ${percent(last.top1)} (top-5 ${percent(last.top5)}), loss ${last.loss.toFixed(4)}, by class:`,
      ...columns(last.per_class.map(({ class: name, accuracy }) => `${name} ${percent(accuracy)}`)),
    );
  lines.push(
    `Results: ${run.path} (config.json, history.json, steps.jsonl, checkpoints/)`,
    reason === 'stopped'
      ? `Continue: node dist/train.js --resume ${run.path}`
      : `Evaluate: node dist/evaluate.js ${run.path}`,
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

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed & { 'list-adapters'?: boolean };
  if (parsed['list-adapters']) {
    const names = await adapterNames();
    console.log(names.length > 0 ? names.join('\n') : 'No WebGPU adapter was found.');
    return names.length > 0 ? 0 : 1;
  }
  const settings = chooseSettings(parsed);
  const reporter = makeReporter(parsed);
  const dataDir = settings.dataDir || process.env.PATCHLIGHT_DATA || 'data';
  const dataset = await openDataset(settings.dataset, {
    dataDir,
    download: true,
    onProgress: downloadProgress(),
  });
  if (parsed.preset)
    checkImageSize(parsed.preset, presetNamed(parsed.preset).imageSize, dataset, settings.dataset);
  const model = new VisionTransformer(modelOptions(settings, dataset)); // refuses what cannot be before any GPU work
  if (parsed.init && !existsSync(parsed.init)) throw new ConfigError(`--init ${parsed.init} does not exist.`);

  const resumed = parsed.resume && !parsed.resume.endsWith('.safetensors') ? parsed.resume : undefined;
  const output =
    parsed.output ??
    resumed ??
    (parsed.resume ? join(parsed.resume, '..', '..') : newRunPath(settings.dataset, new Date()));
  const gpu = await Gpu.open({ adapter: parsed.adapter });
  const run = RunDirectory.open(output, { resume: parsed.resume !== undefined });
  const environment = {
    version: __VERSION__,
    adapter: gpu.info.name,
    driver: gpu.info.driver,
    seed: settings.seed,
  };
  if (!parsed.json && !parsed.quiet)
    console.log(`${model.summary()}\nOn ${gpu.info.name}; ${dataset.name}; into ${run.path}`);
  const { init, resume } = parsed;
  const began = performance.now();
  const trainer = await Trainer.prepare({ gpu, settings, dataset, run, reporter, environment, init, resume });
  const signal = stopOnSignals(trainer);
  const outcome = await trainer.run();
  const seconds = (performance.now() - began) / 1000;
  if (parsed.json) console.log(JSON.stringify({ event: 'end', ...outcome, run: run.path, seconds }));
  else if (!parsed.quiet)
    console.log(
      `${summary(outcome, run, trainer, seconds)}\nGPU memory at its peak: ${formatBytes(gpu.pool.peakBytes)}.`,
    );
  const caught = signal();
  return outcome.reason === 'stopped' && caught ? exitCode(caught) : 0;
});
