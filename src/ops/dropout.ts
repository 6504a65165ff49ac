import source from '../../kernels/elementwise/dropout_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { pcg4d, unit } from '../core/rng.js';
import { need, numel, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { elementwise, quadsOf } from './common.js';

const kernel = defineKernel('dropout_forward', source);

interface Attrs {
  /** Probability that an element (or a sample) is dropped, below 1. */
  readonly rate: number;
  /** The random stream of this use. */
  readonly stream: number;
  /** Elements that share a draw: 1 for dropout, the elements of a sample for drop path. */
  readonly group: number;
}

/** What the kernels compute for one draw: 1/(1 − rate) or 0. */
export function keepMask(
  key: Float64Array,
  { rate, stream }: { rate: number; stream: number },
  draw: number,
): number {
  if (rate === 0) return 1;
  const words = pcg4d(key[0] as number, stream, key[1] as number, Math.floor(draw / 4));
  return unit(words[draw % 4] as number) >= Math.fround(rate) ? 1 / (1 - Math.fround(rate)) : 0;
}

function run(x: Tensor, key: Tensor, y: Tensor, { rate, stream, group }: Attrs, accumulate: boolean): void {
  const overrides = { ACCUMULATE: accumulate };
  const params = { quads: quadsOf(x.size), group, stream, rate };
  x.gpu.run(kernel, { x, key, y }, params, elementwise(x.size), { tune: { Element: x.bits }, overrides });
}

export const dropoutOp = defineOp<Attrs>({
  name: 'dropout',
  formula: 'y = x · keep / (1 − rate),   keep drawn per element, or per sample (drop path)',
  shape: ([x], { rate }) => {
    need(rate >= 0 && rate < 1, 'dropout', `rate must be at least 0 and below 1, not ${rate}.`);
    return x as Shape;
  },
  dtype: ([x]) => (x as Tensor).dtype,
  halves: [0],
  forward: ([x, key], y, attrs) => {
    run(x as Tensor, key as Tensor, y, attrs, false);
    return [];
  },
  backward: ({ inputs: [, key], dy, attrs, grad }) => {
    const { tensor, accumulate } = grad(0);
    run(dy, key as Tensor, tensor, attrs, accumulate);
  },
  needs: { inputs: [1] },
  differentiable: [0],
  flops: ([x]) => numel(x as Shape),
  reference: ([x, key], _, attrs) =>
    (x as Float64Array).map((v, i) => v * keepMask(key as Float64Array, attrs, Math.floor(i / attrs.group))),
  samples: [
    [1, 1],
    [3, 1],
    [257, 1],
    [1031, 1],
    [12, 4],
    [21, 7],
    [1028, 257],
  ].map(([n, group]) => ({
    inputs: [[n!], { u32: [2], below: 4294967296 }],
    attrs: { rate: 0.3, stream: 20, group: group! },
  })),
  bench: [{ inputs: [[64, 65, 192], { u32: [2], below: 1000 }], attrs: { rate: 0.1, stream: 20, group: 1 } }],
  errors: [{ shapes: [[4], [2]], attrs: { rate: 1, stream: 0, group: 1 }, says: /\[dropout\] rate must be/ }],
});

/** Dropout of elements; `key` holds seed and step, `stream` tells this use from others. */
export const dropout = (x: Tensor, key: Tensor, rate: number, stream: number): Tensor =>
  apply(dropoutOp, [x, key], { rate, stream, group: 1 });

/** Drop path (stochastic depth): whole samples, that is entries of the first axis. */
export const dropPath = (x: Tensor, key: Tensor, rate: number, stream: number): Tensor =>
  apply(dropoutOp, [x, key], { rate, stream, group: x.size / (x.shape[0] as number) });
