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

/** The factor that the kernels apply for one draw: 1/(1 − rate) or 0. */
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

const row = (x: Shape, group = 1, rate = 0.3) => ({
  inputs: { x, key: { u32: [2], below: 4294967296 } },
  attrs: { rate, stream: 20, group },
});

export const dropoutOp = defineOp({
  name: 'dropout',
  inputs: ['x', 'key'],
  formula: 'y = x · keep / (1 − rate),   keep drawn per element, or per sample (drop path)',
  shape: ({ x }, { rate }: Attrs) => {
    need(rate >= 0 && rate < 1, 'dropout', `rate must be at least 0 and below 1, not ${rate}.`);
    return x;
  },
  dtype: ({ x }) => x.dtype,
  halves: ['x'],
  forward: ({ x, key }, y, attrs) => run(x, key, y, attrs, false),
  backward: ({ inputs: { key }, dy, attrs, grad }) => {
    const { tensor, accumulate } = grad('x');
    run(dy, key, tensor, attrs, accumulate);
  },
  needs: { inputs: ['key'] },
  differentiable: ['x'],
  flops: ({ x }) => numel(x),
  reference: ({ x, key }, _, attrs) => x.map((v, i) => v * keepMask(key, attrs, Math.floor(i / attrs.group))),
  samples: [row([1]), row([3]), row([257]), row([1031]), row([12], 4), row([21], 7), row([1028], 257)],
  bench: [row([64, 65, 192], 1, 0.1)],
  errors: [
    {
      shapes: { x: [4], key: [2] },
      attrs: { rate: 1, stream: 0, group: 1 },
      says: /\[dropout\] rate must be/,
    },
  ],
});

/**
 * Dropout of the elements of x, of any shape and f32 or f16: torch.nn.functional.dropout. `key` (2) of u32 holds seed and step;
 * `stream` distinguishes this use from others of the same step.
 */
export const dropout = (x: Tensor, key: Tensor, rate: number, stream: number): Tensor =>
  apply(dropoutOp, { x, key }, { rate, stream, group: 1 });

/** Drop path (Huang et al., 2016: stochastic depth): drops whole samples, the entries of x's first axis. */
export const dropPath = (x: Tensor, key: Tensor, rate: number, stream: number): Tensor =>
  apply(dropoutOp, { x, key }, { rate, stream, group: x.size / (x.shape[0] as number) });
