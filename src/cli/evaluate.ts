#!/usr/bin/env node
import { openDataset } from '../data/sources.js';
import { uploadSplit } from '../data/store.js';
import { Gpu } from '../gpu/gpu.js';
import { VisionTransformer } from '../models/vit.js';
import { modelOptions } from '../train/build.js';
import { type Evaluation, evaluate } from '../train/evaluate.js';
import { loadWeights, readRun } from '../train/load.js';
import { commandLine } from './arguments.js';
/** `node dist/evaluate.js RUN|FILE.safetensors`: accuracy and loss of saved weights on the test images. */
import { main, UsageError } from './main.js';
import { downloadProgress, percent } from './progress.js';

const usage =
  'node dist/evaluate.js RUN|FILE.safetensors [flags]\n\nEvaluates a run (its best weights, else its final ones) or a file of weights.';

const options = {
  weights: { type: 'string', requiresArg: true, describe: 'another file of weights, for the model of RUN' },
  dataset: { type: 'string', requiresArg: true, describe: 'another data set than the one it was trained on' },
  'data-dir': {
    type: 'string',
    requiresArg: true,
    describe: 'where data sets are [PATCHLIGHT_DATA or data/]',
  },
  'batch-size': { type: 'number', default: 100, describe: 'images at a time' },
  adapter: { type: 'string', requiresArg: true, describe: "a part of an adapter's name" },
  json: { type: 'boolean', default: false, describe: 'print the result as JSON' },
} as const;

function report(file: string, { images, top1, top5, loss, per_class }: Evaluation): string {
  const widest = Math.max(...per_class.map(({ class: name }) => name.length));
  return [
    `${file}: ${images} images`,
    `top-1 ${percent(top1)}   top-5 ${percent(top5)}   loss ${loss.toFixed(4)}`,
    ...per_class.map(
      ({ class: name, images: n, accuracy }) =>
        `  ${name.padEnd(widest)}  ${percent(accuracy).padStart(8)}  of ${n}`,
    ),
  ].join('\n');
}

await main(async () => {
  const parsed = commandLine(usage, options)
    .demandCommand(1, 1, 'Name a run directory or a safetensors file')
    .parseSync() as unknown as {
    _: (string | number)[];
    weights?: string;
    dataset?: string;
    'data-dir'?: string;
    'batch-size': number;
    adapter?: string;
    json: boolean;
  };
  const batchSize = parsed['batch-size'];
  if (!Number.isInteger(batchSize) || batchSize < 1)
    throw new UsageError(`--batch-size must be a positive whole number, not ${batchSize}.`);
  const run = readRun(String(parsed._[0]));
  const { settings } = run;
  const dataDir = parsed['data-dir'] ?? (settings.dataDir || process.env.PATCHLIGHT_DATA || 'data');
  const dataset = await openDataset(parsed.dataset ?? settings.dataset, {
    dataDir,
    download: true,
    onProgress: downloadProgress(),
  });
  const model = new VisionTransformer(modelOptions(settings, dataset));
  const split = await dataset.load('test');

  const gpu = await Gpu.open({ adapter: parsed.adapter });
  const source = loadWeights(gpu, model, run, parsed.weights);
  const store = uploadSplit(gpu, dataset, split, settings.normalize);
  const records = Uint32Array.from({ length: split.count }, (_, i) => i);
  const result = await evaluate({
    model,
    store,
    records,
    labels: split.labels,
    classes: dataset.classes,
    batchSize,
  });
  console.log(parsed.json ? JSON.stringify(result) : report(source, result));
  return 0;
});
