/** Inputs that are the same on every machine, and the comparison of results with expected values. */
import type { SampleInput } from '../autograd/op.js';
import { crc32c } from '../core/crc32c.js';
import { Counter } from '../core/rng.js';
import { numel, type Shape } from '../core/shape.js';
import type { HostArray } from '../tensor/tensor.js';

/** The largest relative error of one rounding to f32, and to f16. */
export const EPSILON = 2 ** -24;
export const HALF_EPSILON = 2 ** -11;

export function normals(shape: Shape, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const counter = new Counter(seed, 99);
  return Float32Array.from({ length: numel(shape) }, () => scale * counter.normal());
}

/** Values for one input of an op's sample. */
export function valuesFor(input: SampleInput, seed: number): { data: HostArray; shape: Shape } {
  const counter = new Counter(seed, 98);
  if ('u32' in input)
    return {
      shape: input.u32,
      data: Uint32Array.from({ length: numel(input.u32) }, () => counter.below(input.below)),
    };
  if (!('rows' in input)) return { shape: input, data: normals(input, seed) };
  const [R, K] = input.rows as [number, number];
  const data = Float32Array.from({ length: R * K }, () => counter.uniform());
  for (let r = 0; r < R; r++) {
    const row = data.subarray(r * K, (r + 1) * K);
    const total = row.reduce((a, b) => a + b, 0);
    row.forEach((v, k) => {
      row[k] = v / total;
    });
  }
  return { shape: input.rows, data };
}

/** CRC32C of some arrays, in order: equal where two devices or two versions compute the same bits. */
export function digest(arrays: readonly (Float32Array | null)[]): string {
  const crc = arrays.reduce(
    (before, it) => (it ? crc32c(new Uint8Array(it.buffer, it.byteOffset, it.byteLength), before) : before),
    0,
  );
  return crc.toString(16).padStart(8, '0');
}

export const toFloat64 = (data: HostArray): Float64Array => Float64Array.from(data);

/** The largest of |actual − expected| / tolerance, and where: at most 1 is a pass. */
export function worst(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: (i: number) => number,
): { ratio: number; at: number } {
  let found = { ratio: 0, at: -1 };
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs((actual[i] as number) - (expected[i] as number)) / tolerance(i);
    if (!(error <= found.ratio))
      found = { ratio: Number.isNaN(error) ? Number.POSITIVE_INFINITY : error, at: i };
  }
  return found;
}
