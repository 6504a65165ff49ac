/**
 * Whitened patch embeddings (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498): the rows of
 * the weight are the eigenvectors of the patches' second moments, scaled so that all outputs have one variance and none of
 * them is correlated with another.
 */
import { symmetricEigen } from '../core/eigen.js';
import { gram } from '../core/products.js';
import { type PatchGeometry, patchGrid } from '../ops/index.js';

/** Added to every eigenvalue, as in airbench: directions that hardly occur in the images are not blown up to noise. */
const EPS = 5e-4;

/**
 * The standard deviation of an output. PyTorch's default rows, U(±1/√fan_in), give this one to independent pixels of unit
 * variance. The proportions of tokens to positions and to the residual branches are then those of the default, and
 * rows that keep their default beside whitened ones have the same size.
 */
const SCALE = 1 / Math.sqrt(3);

/** Images (count, channels, height, width), normalised and not augmented. */
export interface NormalisedImages {
  readonly pixels: Float32Array;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/**
 * The mean of p·pᵀ over all patches p of the images (n, n), n = C·PH·PW, in float64. As in airbench no mean is subtracted:
 * the pixels are normalised, and the bias is zero.
 */
export function patchMoments(images: NormalisedImages, geometry: PatchGeometry): Float64Array {
  const { pixels, channels, height, width } = images;
  const [rows, columns] = patchGrid([height, width], geometry);
  const count = (pixels.length / (channels * height * width)) * rows * columns;
  const n = channels * geometry.patch[0] * geometry.patch[1];
  return gram(n, patches(images, geometry)).map((sum) => sum / count);
}

/** For each patch in turn, a function that writes its values, with zeros beyond the border. */
function* patches(
  { pixels, channels, height, width }: NormalisedImages,
  geometry: PatchGeometry,
): Generator<(into: Float64Array) => void> {
  const { patch, stride, padding } = geometry;
  const [rows, columns] = patchGrid([height, width], geometry);
  const size = channels * height * width;
  for (let image = 0; image < pixels.length; image += size)
    for (let at = 0; at < rows * columns; at++) {
      const top = Math.floor(at / columns) * stride[0] - padding[0];
      const left = (at % columns) * stride[1] - padding[1];
      yield (into) => {
        let e = 0;
        for (let channel = 0; channel < channels; channel++)
          for (let row = top; row < top + patch[0]; row++)
            for (let column = left; column < left + patch[1]; column++) {
              const inside = row >= 0 && row < height && column >= 0 && column < width;
              const place = image + (channel * height + row) * width + column;
              into[e++] = inside ? (pixels[place] as number) : 0;
            }
      };
    }
}

/**
 * Overwrites the first rows of a patch embedding's weight (D, n) with the whitening rows e/√(λ + eps), by descending
 * eigenvalue λ, and then with their negatives, as in airbench. There an activation follows, which cuts off one sign; here the
 * negatives add no information, but make the mean over a pair zero, so LayerNorm's mean removes nothing of it. With D
 * above 2n, the rows behind them keep their values; with D below, the last ones are left out.
 */
export function whiten(weight: Float32Array, images: NormalisedImages, geometry: PatchGeometry): void {
  const n = images.channels * geometry.patch[0] * geometry.patch[1];
  const { values, vectors } = symmetricEigen(patchMoments(images, geometry), n);
  const filled = Math.min(weight.length, 2 * n * n);
  for (let k = 0; k < filled; k++) {
    const i = Math.floor(k / n) % n;
    // Rounding may leave an eigenvalue of zero slightly negative.
    const scale = SCALE / Math.sqrt(Math.max(0, values[i] as number) + EPS);
    weight[k] = (k < n * n ? scale : -scale) * (vectors[i * n + (k % n)] as number);
  }
}
