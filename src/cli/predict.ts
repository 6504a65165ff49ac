#!/usr/bin/env node
/** `node dist/predict.js RUN|FILE.safetensors IMAGE...`: classifies image files with a trained model. */
import { PatchlightError } from '../core/errors.js';
import { Gpu } from '../gpu/gpu.js';
import { type DecodedImage, decodeImage, type Fit, fits, type ImageSize } from '../io/image.js';
import { buildModel } from '../recipe/model.js';
import { imagesOf, loadWeights, readRun } from '../runs/saved_run.js';
import { type Classifier, classify, likeliest, type Prediction } from '../training/predict.js';
import { adapterOption, commandLine } from './arguments.js';
import { commandName, main, UsageError } from './main.js';
import { percent } from './progress.js';

const usage = `${commandName('predict')} RUN|FILE.safetensors IMAGE... [flags]

Classifies images of any size (PNG, JPEG, WebP, GIF, AVIF, TIFF, SVG) with the weights of a run (its best; its final ones
if there are no best) or of a file.`;

const options = {
  top: {
    type: 'number',
    requiresArg: true,
    default: 5,
    describe: 'number of most probable classes to print for each image',
  },
  fit: {
    type: 'string',
    requiresArg: true,
    choices: fits,
    default: 'crop',
    describe: 'how an oblong image becomes a square: center crop, or squashing the whole image',
  },
  tta: {
    type: 'string',
    requiresArg: true,
    choices: ['none', 'flip'],
    default: 'none',
    describe: 'test-time augmentation; flip averages the probabilities of each image and its mirror image',
  },
  weights: {
    type: 'string',
    requiresArg: true,
    describe: 'safetensors file of other weights for the model of RUN',
  },
  adapter: adapterOption,
  json: { type: 'boolean', default: false, describe: 'print a JSON array of {file, predictions}' },
} as const;

interface Parsed {
  readonly _: readonly string[];
  readonly top: number;
  readonly fit: Fit;
  readonly tta: 'none' | 'flip';
  readonly weights?: string;
  readonly adapter?: string;
  readonly json: boolean;
}

/** Images in a batch. */
const BATCH = 64;
/** A center crop of an image whose longer side is more than this many times the shorter one gets a warning. */
const ELONGATED = 2;

interface Result {
  readonly file: string;
  readonly predictions: readonly Prediction[];
}

interface Named {
  readonly file: string;
  readonly image: DecodedImage;
}

/** Decodes the files, each to a `size` image. Files that are not images are left out, with a message on standard error. */
async function decodeAll(files: readonly string[], size: ImageSize, fit: Fit): Promise<Named[]> {
  const decoded: Named[] = [];
  for (const file of files)
    try {
      const image = await decodeImage(file, size, fit);
      if (fit === 'crop') warnOfElongated(file, image);
      decoded.push({ file, image });
    } catch (error) {
      if (!(error instanceof PatchlightError)) throw error;
      console.error(`patchlight: ${error.message}`);
    }
  return decoded;
}

function warnOfElongated(file: string, { height, width }: DecodedImage): void {
  if (Math.max(height, width) <= ELONGATED * Math.min(height, width)) return;
  console.error(
    `patchlight: ${file}: only the center of its ${width} x ${height} pixels is classified. --fit squash uses the whole image.`,
  );
}

async function predictAll(classifier: Classifier, { _, top, fit, json }: Parsed): Promise<Result[]> {
  const { images } = classifier;
  const [, ...files] = _;
  const results: Result[] = [];
  for (let at = 0; at < files.length; at += BATCH) {
    const decoded = await decodeAll(files.slice(at, at + BATCH), images, fit);
    if (decoded.length === 0) continue;
    const probabilities = await classify(
      classifier,
      decoded.map(({ image }) => image.bytes),
    );
    const found = decoded.map(({ file }, i) => ({
      file,
      predictions: likeliest(probabilities[i] as Float64Array, images.classes, top),
    }));
    results.push(...found);
    if (!json) for (const result of found) console.log(describe(result));
  }
  return results;
}

function describe({ file, predictions }: Result): string {
  const widest = Math.max(...predictions.map(({ class: name }) => name.length));
  const lines = predictions.map(
    ({ class: name, probability }) => `  ${name.padEnd(widest)}  ${percent(probability).padStart(8)}`,
  );
  return [file, ...lines].join('\n');
}

await main(async () => {
  const parsed = commandLine(usage, options)
    .demandCommand(2, 'Name a run directory or a safetensors file, and the images to classify')
    .parseSync() as unknown as Parsed;
  const { _, top, tta, weights, adapter, json } = parsed;
  if (!Number.isInteger(top) || top < 1)
    throw new UsageError(`--top must be a positive whole number, not ${top}.`);
  const run = readRun(_[0] as string);
  const images = imagesOf(run);
  const model = buildModel(run.settings, images);
  const gpu = await Gpu.open({ adapter });
  loadWeights(gpu, model, run, weights);
  const { normalize } = run.settings;
  const classifier = { gpu, model, images, normalize, flip: tta === 'flip' };
  const results = await predictAll(classifier, parsed);
  if (json) console.log(JSON.stringify(results));
  return results.length === _.length - 1 ? 0 : 1;
});
