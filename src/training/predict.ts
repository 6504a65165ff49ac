/** Classification of single images: probabilities of the classes. */
import type { ImageFormat, Split } from '../data/dataset.js';
import { mirrored, type Normalize, releaseStore, uploadSplit } from '../data/store.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import { predict } from './evaluate.js';
import { probabilities } from './score.js';

/** A class and its probability. */
export interface Prediction {
  readonly class: string;
  readonly probability: number;
}

/** A trained model and the preprocessing of its images. */
export interface Classifier {
  readonly gpu: Gpu;
  /** The model, with its weights on the device. */
  readonly model: Model;
  /** The format of the images that it was trained on. */
  readonly images: ImageFormat;
  readonly normalize: Normalize;
  /** True to average the probabilities of each image and its mirror image. */
  readonly flip: boolean;
}

/**
 * Probabilities (K) of each image, in one batch on the device. An image is bytes (C, H, W) of the model's image size.
 * Throws a NonFiniteError if the logits are not finite.
 */
export async function classify(
  { gpu, model, images, normalize, flip }: Classifier,
  batch: readonly Uint8Array[],
): Promise<Float64Array[]> {
  const count = batch.length;
  const { classes } = images;
  const K = classes.length;
  const records = Uint32Array.from({ length: count }, (_, i) => i);
  const probabilitiesOf = async (split: Split) => {
    const store = uploadSplit(gpu, images, split, normalize);
    const logits = await predict({ model, store, classes, records, batchSize: count });
    releaseStore(store);
    return batch.map((_, i) => probabilities(Float64Array.from(logits.subarray(i * K, (i + 1) * K))));
  };
  const split = { images: joined(batch), labels: new Uint8Array(count), count };
  const plain = await probabilitiesOf(split);
  if (!flip) return plain;
  const other = await probabilitiesOf(mirrored(images, split));
  return plain.map((row, i) => mean(row, other[i] as Float64Array));
}

/** The `count` most probable classes, the most probable first. Equal probabilities keep the order of the classes. */
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

const mean = (a: Float64Array, b: Float64Array): Float64Array => a.map((x, i) => (x + (b[i] as number)) / 2);

function joined(images: readonly Uint8Array[]): Uint8Array {
  const each = images[0]?.length ?? 0;
  const bytes = new Uint8Array(images.length * each);
  images.forEach((image, i) => {
    bytes.set(image, i * each);
  });
  return bytes;
}
