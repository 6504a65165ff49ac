/** The report of a run: one HTML file without scripts and without links to other files. */
import { basename, dirname, resolve } from 'node:path';
import type { Dataset, Split } from '../data/dataset.js';
import type { AdapterInfo } from '../gpu/device.js';
import type { Model } from '../models/model.js';
import type { ImageStore } from '../ops/batch.js';
import type { Settings } from '../recipe/settings.js';
import type { Evaluation } from '../training/score.js';
import { attentionSection } from './attention.js';
import { calibrationSection } from './calibration.js';
import { classesSection } from './classes.js';
import { curvesSection, medianThroughput } from './curves.js';
import { type Child, count, Html, html, percent } from './html.js';
import { fromPlanes, type Picture } from './picture.js';
import {
  evenly,
  type Prediction,
  predictionsOf,
  predictionsSection,
  type Selection,
  select,
} from './predictions.js';
import type { RunFiles } from './run_files.js';
import { environmentSection, settingsSection } from './settings_table.js';
import { style } from './style.js';

export interface ReportInput {
  /** The file of weights that was evaluated. */
  readonly weights: string;
  readonly settings: Settings;
  readonly model: Model;
  readonly dataset: Dataset;
  /** True if the data set is the one that the run was trained on. */
  readonly ownData: boolean;
  /** The evaluated images, on the host and on the device. */
  readonly split: Split;
  readonly store: ImageStore;
  /** (n, K), in the order of the split's images. */
  readonly logits: Float32Array;
  readonly evaluation: Evaluation;
  readonly run: RunFiles;
  /** Version, seed, adapter and driver of the training, from the metadata of the weights. */
  readonly environment: Readonly<Record<string, unknown>>;
  /** The adapter of the evaluation. */
  readonly adapter: AdapterInfo;
  readonly version: string;
  /** The time of the report. */
  readonly date: Date;
}

const CARDS = 12;
const LOOKED_RIGHT = 4;
const LOOKED_WRONG = 2;

/** The text of the page. All text from files (names of classes, settings, adapters) is escaped. */
export async function reportPage(input: ReportInput): Promise<string> {
  const { evaluation, logits, split, dataset, model, store, run, settings } = input;
  const predictions = predictionsOf(logits, split.labels, dataset.classes);
  const selection = select(predictions, CARDS);
  const pictureOf = pictures(input);
  const title = `${nameOf(input.weights)} – Patchlight`;
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>${title}</title><style>${new Html(style)}</style></head><body><main>
${headline(input)}
${await curvesSection(run, validationNameOf(settings))}
${await classesSection(evaluation)}
${await calibrationSection(evaluation)}
${await predictionsSection(selection, pictureOf)}
${await attentionSection(
  model,
  store,
  lookedAt(selection).map((prediction) => ({ prediction, picture: pictureOf(prediction.record) })),
)}
${settingsSection(settings)}
${environmentSection(environmentRows(input))}
</main></body></html>
`;
  return page.text;
}

/** The name of the run directory; the name of the file if it is not in one. */
function nameOf(weights: string): string {
  const folder = dirname(resolve(weights));
  return basename(folder) === 'checkpoints' ? basename(dirname(folder)) : basename(weights);
}

const validationNameOf = (settings: Settings): 'validation' | 'test' =>
  settings.valSplit > 0 ? 'validation' : 'test';

function pictures({ dataset, split }: ReportInput): (record: number) => Picture {
  const { channels, height, width } = dataset;
  const size = channels * height * width;
  return (record) => fromPlanes(split.images.subarray(record * size, (record + 1) * size), height, width);
}

const lookedAt = ({ right, wrong }: Selection): Prediction[] => [
  ...evenly(right, LOOKED_RIGHT),
  ...evenly(wrong, LOOKED_WRONG),
];

/** Two standard errors of a fraction measured on n images. */
const margin = (share: number, n: number): number => 2 * Math.sqrt((share * (1 - share)) / n);

function headline(input: ReportInput): Html {
  const { evaluation, model, dataset, run } = input;
  const { top1, top5, loss, ece, images, tta } = evaluation;
  const pace = medianThroughput(run.steps);
  const spent = run.history.at(-1)?.flops;
  const number = (name: string, value: Child, note: Child, kind = 'number') =>
    html`<div class="${kind}"><dt>${name}</dt><dd>${value}<small>${note}</small></dd></div>`;
  return html`<header><p class="over">Patchlight report</p><h1>${nameOf(input.weights)}</h1>
<p class="sub">${model.describe()}, on ${dataset.name}.</p>
<dl class="numbers">${[
    number(
      'Top-1 accuracy',
      percent(top1, 2),
      `± ${percent(margin(top1, images), 2)}, ${count(images)} test images`,
      'main',
    ),
    number('Top-5 accuracy', percent(top5, 2), 'true class among the five most probable'),
    tta
      ? number(
          'Top-1 with flip',
          percent(tta.top1, 2),
          `averaged over each image and its mirror image; loss ${tta.loss.toFixed(4)}`,
        )
      : null,
    number('Loss', loss.toFixed(4), 'cross-entropy, nats'),
    number('Calibration error', percent(ece, 2), 'ECE, 15 bins'),
    number('Parameters', count(model.numParams()), `${(model.flops() / 1e6).toFixed(1)} MFLOP an image`),
    spent === undefined
      ? null
      : number(
          'Training',
          `${(spent / 1e15).toPrecision(3)} PFLOP`,
          'matrix products and attention of all steps',
        ),
    pace === null ? null : number('Throughput', count(pace), 'images a second in training, median'),
  ]}</dl><p class="honest">${choice(input)}</p></header>`;
}

/** Says which images chose the checkpoint, and which images the figures are about. */
function choice({ weights, settings, evaluation, ownData, dataset }: ReportInput): Child {
  const reported = `All figures are for the ${count(evaluation.images)} test images.`;
  if (!basename(weights).startsWith('best'))
    return `${basename(weights)} was not chosen by its accuracy: it holds the weights at the end of training, or of one epoch. ${reported}`;
  if (!ownData)
    return `The checkpoint is the best of a run on ${settings.dataset}, chosen there. ${reported} They are from ${dataset.name}, which had no part in the choice.`;
  return settings.valSplit > 0
    ? `The checkpoint is the best of the run on ${count(settings.valSplit)} validation images held out of the training set. ${reported} They had no part in the choice.`
    : html`The checkpoint is the best of the run on the test images themselves, so these figures are slightly better than on new images. ${reported} Use <code>--val-split</code> to choose on held-out images instead.`;
}

function environmentRows({ environment, adapter, version, weights, date }: ReportInput): [Child, Child][] {
  const of = (name: string) => String(environment[name] ?? 'not recorded');
  return [
    ['Trained with', `Patchlight ${of('version')}, seed ${of('seed')}`],
    ['Trained on', html`${of('adapter')}<br><small>${of('driver')}</small>`],
    ['Evaluated with', `Patchlight ${version}`],
    ['Evaluated on', html`${adapter.name}<br><small>${adapter.driver}</small>`],
    ['Weights', basename(weights)],
    ['Report made', `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`],
  ];
}
