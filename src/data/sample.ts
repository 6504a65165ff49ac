/** Images of a split on the host, for what is computed from them before training. */
import { permutation, stream } from '../core/rng.js';
import type { ImageFormat, Split } from './dataset.js';
import { type Normalize, normalisation } from './store.js';

/** `count` of the records, or all if there are fewer, drawn by the seed. */
export function sampleRecords(records: Uint32Array, count: number, seed: number): Uint32Array {
  const order = permutation(records.length, seed, stream.sample, 0).subarray(0, count);
  return order.map((i) => records[i] as number);
}

/** The given images (n, C, H, W), normalised as training normalises them, and not augmented. */
export function normalisedImages(
  dataset: ImageFormat,
  split: Split,
  records: Uint32Array,
  normalize: Normalize,
): Float32Array<ArrayBuffer> {
  const { channels, height, width } = dataset;
  const [area, size] = [height * width, channels * height * width];
  const norm = normalisation(dataset, normalize);
  const images = new Float32Array(records.length * size);
  for (const [i, record] of records.entries())
    for (let at = 0; at < size; at++) {
      const channel = Math.floor(at / area);
      const byte = split.images[record * size + at] as number;
      images[i * size + at] = byte * (norm[channel] as number) + (norm[channels + channel] as number);
    }
  return images;
}
