/** Class probabilities of images that no data set holds. */
import { type Pixels, releaseStore, uploadSplit } from '../data/store.js';
import type { Gpu } from '../gpu/gpu.js';
import type { VisionTransformer } from '../models/vit.js';
import { logitsOf } from './evaluate.js';
import type { Settings } from './settings.js';

export interface Prediction {
  readonly class: string;
  readonly probability: number;
}

export interface Classifier {
  readonly gpu: Gpu;
  /** With its weights on the device. */
  readonly model: VisionTransformer;
  /** Size, mean and deviation of the images that it was trained on, and how they were normalised. */
  readonly images: Pixels;
  readonly normalize: Settings['normalize'];
  readonly classes: readonly string[];
  /** Whether each image is also shown mirrored, and the mean of both probabilities taken. */
  readonly flip: boolean;
}

/** Probabilities (K) of each image, given as bytes (C, H, W): one batch on the device. */
export async function classify(
  { gpu, model, images, normalize, classes, flip }: Classifier,
  batch: readonly Uint8Array[],
): Promise<Float64Array[]> {
  const views = flip ? [...batch, ...batch.map((image) => mirrored(image, images.width))] : batch;
  const count = views.length;
  const split = { images: joined(views), labels: new Uint8Array(count), count };
  const store = uploadSplit(gpu, images, split, normalize);
  const records = Uint32Array.from({ length: count }, (_, i) => i);
  const logits = await logitsOf({ model, store, classes, batchSize: count }, records);
  releaseStore(store);
  const K = classes.length;
  const all = views.map((_, i) => softmax(logits.subarray(i * K, (i + 1) * K)));
  if (!flip) return all;
  return batch.map((_, i) => mean(all[i] as Float64Array, all[i + batch.length] as Float64Array));
}

/** The `count` likeliest classes, likeliest first; equals in the order of the classes. */
export function likeliest(
  probabilities: Float64Array,
  classes: readonly string[],
  count: number,
): Prediction[] {
  return [...probabilities]
    .map((probability, c) => ({ class: classes[c] as string, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, count);
}

/** In float64. */
export function softmax(logits: Float32Array): Float64Array {
  const highest = logits.reduce((a, b) => Math.max(a, b));
  const masses = Float64Array.from(logits, (x) => Math.exp(x - highest));
  const total = masses.reduce((a, b) => a + b);
  return masses.map((mass) => mass / total);
}

const mean = (a: Float64Array, b: Float64Array): Float64Array => a.map((x, i) => (x + (b[i] as number)) / 2);

/** Every row backwards. */
function mirrored(image: Uint8Array, width: number): Uint8Array {
  const result = image.slice();
  for (let row = 0; row < image.length; row += width) result.subarray(row, row + width).reverse();
  return result;
}

function joined(images: readonly Uint8Array[]): Uint8Array {
  const each = images[0]?.length ?? 0;
  const bytes = new Uint8Array(images.length * each);
  images.forEach((image, i) => {
    bytes.set(image, i * each);
  });
  return bytes;
}
