/** A model of any size on a device that keeps nothing: its values are computed when they are read. */
import type { Gpu } from '../../src/gpu/gpu.js';
import type { Region } from '../../src/gpu/pool.js';
import type { Parts } from '../../src/runs/checkpoint.js';
import { Layout } from '../../src/tensor/arena.js';
import { Parameter } from '../../src/tensor/parameter.js';
import type { Tensor } from '../../src/tensor/tensor.js';

/** The value of float `at` of the arena. */
const valueAt = (at: number): number => (at % 16_777_213) + Math.floor(at / 16_777_213);

function valuesFrom(start: number, floats: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(floats);
  for (let i = 0; i < floats; i++) values[i] = valueAt(start + i);
  return values;
}

/** Sizes of parameters in floats, repeated until there are enough: a few large ones, many small ones. */
const SIZES = [4 << 20, 12_345, 1, 1024, 6_000_000, 128];

/** About `bytes` bytes of values; `difference` counts the values that were not written back as they were read. */
export function largePart(bytes: number): {
  order: readonly Parameter[];
  parts: Parts;
  difference: () => number;
} {
  const slots: { parameter: Parameter; start: number }[] = [];
  let floats = 0;
  for (let i = 0; 4 * floats < bytes; i++) {
    const parameter = new Parameter([SIZES[i % SIZES.length] as number], () => () => 0);
    parameter.name = `p.${i}`;
    slots.push({ parameter, start: floats });
    floats += parameter.size;
  }
  let written = 0;
  let wrong = 0;
  const gpu = {
    read: async ({ offset, bytes: length }: Region) => valuesFrom(offset / 4, length / 4).buffer,
    upload: ({ offset }: Region, data: Float32Array) => {
      for (let i = 0; i < data.length; i++) if (data[i] !== Math.fround(valueAt(offset / 4 + i))) wrong++;
      written += data.length;
    },
  } as unknown as Gpu;
  const tensor = { gpu, buffer: null, offset: 0 } as unknown as Tensor;
  const layout = new Layout(gpu, slots, 0, floats);
  const order = slots.map(({ parameter }) => parameter).reverse();
  return { order, parts: { '': { layout, tensor } }, difference: () => wrong + (floats - written) };
}
