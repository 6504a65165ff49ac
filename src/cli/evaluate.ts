#!/usr/bin/env node
/** `node dist/evaluate.js RUN|FILE.safetensors`: evaluates saved weights on the test images and writes a report. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { mirrored, uploadSplit } from '../data/store.js';
import { Gpu } from '../gpu/gpu.js';
import { writeFileAtomic } from '../io/atomic.js';
import { buildModel } from '../recipe/model.js';
import { reportPage } from '../report/page.js';
import { readRunFiles } from '../report/run_files.js';
import { metadataField } from '../runs/checkpoint.js';
import { loadWeights, readRun } from '../runs/saved_run.js';
import { evaluateLogits, predict } from '../training/evaluate.js';
import { adapterOption, commandLine } from './arguments.js';
import { demandPlace, openData } from './files.js';
import { commandName, main, UsageError } from './main.js';
import { describeEvaluation } from './scores.js';

const usage = `${commandName('evaluate')} RUN|FILE.safetensors [flags]\n\nEvaluates a run (its best weights; its final ones if there are no best) or a file of weights on the test images, and writes a report.`;

const options = {
  weights: {
    type: 'string',
    requiresArg: true,
    describe: 'safetensors file of other weights for the model of RUN',
  },
  dataset: { type: 'string', requiresArg: true, describe: 'data set to evaluate on [the one of the run]' },
  'data-dir': {
    type: 'string',
    requiresArg: true,
    describe: 'folder of the data sets [PATCHLIGHT_DATA or data/]',
  },
  'batch-size': {
    type: 'number',
    requiresArg: true,
    describe: 'images per batch [that of the run]',
  },
  tta: {
    choices: ['none', 'flip'],
    default: 'none',
    requiresArg: true,
    describe:
      'test-time augmentation; flip also reports accuracy averaged over each image and its mirror image',
  },
  report: {
    type: 'string',
    requiresArg: true,
    describe:
      'HTML file to write the report to; --no-report writes none [RUN/report.html; none for a file or --weights]',
  },
  adapter: adapterOption,
  json: { type: 'boolean', default: false, describe: 'print the result as JSON' },
} as const;

interface Parsed {
  readonly _: readonly (string | number)[];
  readonly weights?: string;
  readonly dataset?: string;
  readonly 'data-dir'?: string;
  readonly 'batch-size'?: number;
  readonly tta: 'none' | 'flip';
  /** False when --no-report was typed. */
  readonly report?: string | false;
  readonly adapter?: string;
  readonly json: boolean;
}

function parse(): Parsed {
  const parsed = commandLine(usage, options, ['report'])
    .demandCommand(1, 1, 'Name a run directory or a safetensors file')
    .parseSync() as unknown as Parsed;
  const batchSize = parsed['batch-size'];
  if (batchSize !== undefined && !(Number.isInteger(batchSize) && batchSize > 0))
    throw new UsageError(`--batch-size must be a positive whole number, not ${batchSize}.`);
  return parsed;
}

/**
 * The file to write the report to; null for none. With --weights there is no default, because a report on other weights
 * must not replace the run's own.
 */
function reportPath({ report, weights }: Parsed, run: string | null): string | null {
  if (report === false) return null;
  return report ?? (run !== null && weights === undefined ? join(run, 'report.html') : null);
}

await main(async () => {
  const parsed = parse();
  if (parsed.report) demandPlace('report', parsed.report);
  const target = String(parsed._[0]);
  const saved = readRun(target);
  const { settings } = saved;
  const run = statSync(target).isDirectory() ? target : null;
  const dataset = await openData({
    dataset: parsed.dataset ?? settings.dataset,
    dataDir: parsed['data-dir'] ?? settings.dataDir,
  });
  const model = buildModel(settings, dataset);
  const split = await dataset.load('test');

  const gpu = await Gpu.open({ adapter: parsed.adapter });
  const { path: weights, file: source } = loadWeights(gpu, model, saved, parsed.weights);
  const store = uploadSplit(gpu, dataset, split, settings.normalize);
  const input = {
    model,
    store,
    mirrored:
      parsed.tta === 'flip'
        ? uploadSplit(gpu, dataset, mirrored(dataset, split), settings.normalize)
        : undefined,
    records: Uint32Array.from({ length: split.count }, (_, i) => i),
    labels: split.labels,
    classes: dataset.classes,
    batchSize: parsed['batch-size'] ?? settings.batchSize,
  };
  const logits = await predict(input);
  const evaluation = await evaluateLogits(input, logits);
  const page = reportPath(parsed, run);
  if (page !== null) {
    const html = await reportPage({
      weights,
      settings,
      model,
      dataset,
      ownData: parsed.dataset === undefined || parsed.dataset === settings.dataset,
      split,
      store,
      logits,
      evaluation,
      run: run === null ? { steps: [], history: [] } : readRunFiles(run),
      environment: 'environment' in source.metadata ? metadataField(weights, source, 'environment') : {},
      adapter: gpu.info,
      version: __VERSION__,
      date: new Date(),
    });
    writeFileAtomic(page, new TextEncoder().encode(html));
  }
  if (parsed.json) console.log(JSON.stringify(evaluation));
  else console.log(`${describeEvaluation(weights, evaluation)}${page === null ? '' : `\n\nReport: ${page}`}`);
  return 0;
});
