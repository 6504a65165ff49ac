/** A data set on the device. Its bytes are uploaded once, in parts that fit the limit of a storage binding. */
import type { Gpu } from '../gpu/gpu.js';
import type { ImageStore } from '../ops/batch.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { ImageFormat, Split } from './dataset.js';

/** The normalisation: `cifar` by the data set's own mean and standard deviation, `half` by 0.5 and 0.5. */
export type Normalize = 'cifar' | 'half';

/** (value / 255 − mean) / std as one multiply-add for each channel: the factors, then the addends. */
export function normalisation(dataset: ImageFormat, normalize: Normalize): Float32Array<ArrayBuffer> {
  const mean = normalize === 'half' ? dataset.mean.map(() => 0.5) : dataset.mean;
  const std = normalize === 'half' ? dataset.std.map(() => 0.5) : dataset.std;
  return Float32Array.from([
    ...std.map((s) => 1 / (255 * s)),
    ...mean.map((m, c) => -m / (std[c] as number)),
  ]);
}

/** Uploads a split. The caller releases it with `releaseStore`. */
export function uploadSplit(gpu: Gpu, dataset: ImageFormat, split: Split, normalize: Normalize): ImageStore {
  const imageBytes = dataset.channels * dataset.height * dataset.width;
  // The size of a part must be a multiple of 4 bytes, so a part has a multiple of 4 images.
  const most = 4 * Math.floor(gpu.device.limits.maxStorageBufferBindingSize / imageBytes / 4);
  const parts = [];
  for (let first = 0; first < split.count; first += most) {
    const count = Math.min(most, split.count - first);
    const bytes = split.images.subarray(
      first * imageBytes,
      (first + count) * imageBytes,
    ) as Uint8Array<ArrayBuffer>;
    parts.push({ first, count, images: keep(Tensor.from(gpu, bytes, [bytes.length], 'images')) });
  }
  const labels = keep(Tensor.from(gpu, Uint32Array.from(split.labels), [split.count], 'labels'));
  const norm = keep(Tensor.from(gpu, normalisation(dataset, normalize), [2, dataset.channels], 'norm'));
  return { parts, labels, norm };
}

/** A copy of a split with its images mirrored left to right. */
export function mirrored({ width }: Pick<ImageFormat, 'width'>, { images, ...rest }: Split): Split {
  const flipped = images.slice();
  for (let at = 0; at < flipped.length; at += width) flipped.subarray(at, at + width).reverse();
  return { ...rest, images: flipped };
}

/** Releases the device memory of a store. */
export function releaseStore({ parts, labels, norm }: ImageStore): void {
  for (const tensor of [...parts.map(({ images }) => images), labels, norm]) tensor.release();
}
