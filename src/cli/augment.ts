#!/usr/bin/env node
/** `node dist/augment.js --grid FILE.png`: draws a contact sheet of augmented training images. */
import { uploadSplit } from '../data/store.js';
import { TrainingBatch, type TrainingInput } from '../data/training_batch.js';
import { Gpu } from '../gpu/gpu.js';
import { writeFileAtomic } from '../io/atomic.js';
import type { BatchPlan, ImagePlan } from '../ops/batch_plan.js';
import { trainingInput } from '../recipe/augmentation.js';
import { resolveSettings } from '../recipe/settings.js';
import { contactSheet, demandDrawable } from '../report/contact_sheet.js';
import { adapterOption, commandLine, settingOptions, typedSettings } from './arguments.js';
import { demandPlace, openData } from './files.js';
import { commandName, main, UsageError } from './main.js';

const usage = `${commandName('augment')} --grid FILE.png [flags]\n\nDraws a row for each training image: the original, then its augmentation in one training step after another.\nEach column is a batch: mixup and CutMix pair its first image with its last one.`;

/** Settings of the group Data that do not change how one image is augmented. */
const NOT_OF_IMAGES = ['val-split', 'limit-train', 'shuffle', 'mixup-off-epoch'];
const imageOptions = Object.fromEntries(
  Object.entries(settingOptions()).filter(
    ([name, { group }]) => name === 'seed' || (group === 'Data:' && !NOT_OF_IMAGES.includes(name)),
  ),
);

const options = {
  grid: { type: 'string', requiresArg: true, demandOption: true, describe: 'PNG file to write' },
  rows: { type: 'number', default: 8, describe: 'number of training images' },
  columns: { type: 'number', default: 12, describe: 'images in a row: the original and its augmentations' },
  scale: { type: 'number', default: 3, describe: 'side of a drawn pixel, in pixels of the PNG' },
  list: { type: 'boolean', default: false, describe: 'print the crop, operations and mix of every image' },
  adapter: adapterOption,
  ...imageOptions,
} as const;

type Parsed = Readonly<Record<string, unknown>> & {
  grid: string;
  rows: number;
  columns: number;
  scale: number;
  list: boolean;
  adapter?: string;
};

/**
 * One column: the given records as training step `step` sees them. `bytes` (B, 3, H, W) are the augmented images with
 * the normalisation undone, in the range 0 to 255.
 */
async function column(
  gpu: Gpu,
  input: TrainingInput,
  records: Uint32Array<ArrayBuffer>,
  seed: number,
  step: number,
) {
  const batch = new TrainingBatch(gpu, records.length, input);
  const plan = batch.draw(records, seed, step);
  batch.gather();
  const norm = await input.store.norm.toFloat32();
  const plane = input.shape[1] * input.shape[2];
  const bytes = Uint8ClampedArray.from(await batch.images.toFloat32(), (v, i) => {
    const c = Math.floor(i / plane) % 3;
    return (v - (norm[3 + c] as number)) / (norm[c] as number);
  });
  return { bytes, plan };
}

/** Describes the augmentation of image b. */
function sentence({ images, mix }: BatchPlan, b: number): string {
  const { frame, ops } = images[b] as ImagePlan;
  return [
    `${frame.flip ? 'mirrored ' : ''}crop ${frame.height}x${frame.width} at ${frame.top},${frame.left}`,
    ...ops.map(({ op, value }) => `${op} ${Number(value.toFixed(3))}`),
    ...(frame.erase ? [`erased ${Object.values(frame.erase).join(' ')}`] : []),
    ...(mix.share < 1 ? [`own share ${mix.share.toFixed(3)}`] : []),
  ].join(', ');
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed;
  const { rows, columns, scale } = parsed;
  for (const [name, value] of Object.entries({ rows, columns, scale }))
    if (!Number.isInteger(value) || value < 1)
      throw new UsageError(`--${name} must be a positive whole number, not ${value}.`);
  const settings = resolveSettings(typedSettings(parsed));
  demandPlace('grid', parsed.grid);
  const dataset = await openData(settings);
  const split = await dataset.load('train');
  const records = Uint32Array.from({ length: Math.min(rows, split.count) }, (_, i) => i);
  const { height, width } = dataset;
  const layout = { rows: records.length, columns, height, width };
  demandDrawable(layout, scale);
  const gpu = await Gpu.open({ adapter: parsed.adapter });
  const store = uploadSplit(gpu, dataset, split, settings.normalize);
  const augmented = trainingInput(settings, dataset, store, 1);
  const original = trainingInput(resolveSettings({ augment: 'none' }), dataset, store, 1);
  const size = 3 * height * width;
  const images = new Uint8Array(records.length * columns * size);
  for (let i = 0; i < columns; i++) {
    const step = i - 1;
    const { bytes, plan } = await column(gpu, i === 0 ? original : augmented, records, settings.seed, step);
    records.forEach((_, b) => {
      images.set(bytes.subarray(b * size, (b + 1) * size), (b * columns + i) * size);
      if (i === 0 || !parsed.list) return;
      console.log(`row ${b + 1} column ${i + 1}: ${sentence(plan, b)}`);
    });
  }
  writeFileAtomic(parsed.grid, await contactSheet({ images, ...layout }, scale));
  if (!parsed.list) console.log(`${records.length} images, ${columns - 1} draws of each: ${parsed.grid}`);
  return 0;
});
