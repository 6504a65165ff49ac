/** Resizing of grids of vectors on the host: positions on another grid of patches, and the weights of larger or smaller patches. */

/** A matrix as rows. */
type Matrix = readonly (readonly number[])[];

/** Keys' cubic kernel with a = −0.5, as Pillow and PyTorch's antialiased resizing have it. */
function cubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

/**
 * The matrix (to, from) that resizes an axis: torch.nn.functional.interpolate(mode='bicubic', antialias=True,
 * align_corners=False). Each row sums to 1.
 */
export function resizing(from: number, to: number): Matrix {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: to }, (_, i) => {
    const center = scale * (i + 0.5);
    const first = Math.max(Math.trunc(center - 2 * stretch + 0.5), 0);
    const end = Math.min(Math.trunc(center + 2 * stretch + 0.5), from);
    const weights = Array.from({ length: from }, (_, j) =>
      j >= first && j < end ? cubic((j - center + 0.5) / stretch) : 0,
    );
    const sum = weights.reduce((total, w) => total + w, 0);
    return weights.map((w) => w / sum);
  });
}

const transposed = (a: Matrix): number[][] =>
  Array.from({ length: (a[0] as readonly number[]).length }, (_, j) => a.map((row) => row[j] as number));

const times = (a: Matrix, b: Matrix): number[][] => {
  const columns = transposed(b);
  return a.map((row) =>
    columns.map((column) => row.reduce((sum, x, k) => sum + x * (column[k] as number), 0)),
  );
};

/** X with a · X = b, for a square matrix that is not singular: Gauss-Jordan elimination with pivots. */
function solved(a: Matrix, b: Matrix): number[][] {
  const n = a.length;
  const rows = a.map((row, i) => [...row, ...(b[i] as readonly number[])]);
  for (let k = 0; k < n; k++) {
    const size = (i: number) => Math.abs((rows[i] as number[])[k] as number);
    let pivot = k;
    for (let i = k + 1; i < n; i++) if (size(i) > size(pivot)) pivot = i;
    [rows[k], rows[pivot]] = [rows[pivot] as number[], rows[k] as number[]];
    const head = (rows[k] as number[]).map((x) => x / ((rows[k] as number[])[k] as number));
    rows[k] = head;
    for (let i = 0; i < n; i++) {
      const factor = (rows[i] as number[])[k] as number;
      if (i !== k) rows[i] = (rows[i] as number[]).map((x, j) => x - factor * (head[j] as number));
    }
  }
  return rows.map((row) => row.slice(n));
}

/** The pseudo-inverse (n, m) of a matrix (m, n) of full rank. */
function pseudoInverse(a: Matrix): number[][] {
  const across = transposed(a);
  if (a.length >= across.length) return solved(times(across, a), across);
  return transposed(solved(times(a, across), a));
}

/**
 * The matrix (to, from) that resizes a patch's weights along an axis: pinv(Rᵀ), where R resizes the image (FlexiViT, Beyer et al.,
 * 2023; timm's resample_patch_embed). Where R can be undone, resized weights times a resized patch equal weights times the patch.
 */
export const weightResizing = (from: number, to: number): Matrix =>
  pseudoInverse(transposed(resizing(from, to)));

/**
 * `grids` grids (rows, columns) of `width` values each, row by row, with both axes multiplied by a matrix: (grids, rows',
 * columns', width).
 */
export function resizeGrids(
  values: Float32Array,
  grids: number,
  [down, across]: readonly [Matrix, Matrix],
  width: number,
): Float32Array<ArrayBuffer> {
  const [rows, columns] = [down, across].map((matrix) => (matrix[0] as readonly number[]).length) as [
    number,
    number,
  ];
  const result = new Float32Array(grids * down.length * across.length * width);
  let at = 0;
  for (let g = 0; g < grids; g++)
    for (const vertical of down)
      for (const horizontal of across)
        for (let d = 0; d < width; d++) {
          let sum = 0;
          for (let r = 0; r < rows; r++)
            for (let c = 0; c < columns; c++) {
              const value = values[((g * rows + r) * columns + c) * width + d] as number;
              sum += (vertical[r] as number) * (horizontal[c] as number) * value;
            }
          result[at++] = sum;
        }
  return result;
}
