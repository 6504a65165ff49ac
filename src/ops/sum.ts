import fillSource from '../../kernels/reduce/fill_forward.wgsl';
import sumSource from '../../kernels/reduce/sum_reduce.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { numel } from '../core/shape.js';

import { defineKernel } from '../gpu/pipeline.js';
import type { Region } from '../gpu/pool.js';
import { Tensor } from '../tensor/tensor.js';
import { elementwise, groupsFor, quadsOf, ROW_WG } from './common.js';

const sumKernel = defineKernel('sum_reduce', sumSource);
const fillKernel = defineKernel('fill_forward', fillSource);

// Each stage leaves at most so many partial sums; the order of additions depends on n and on the kind of adapter alone.
const WIDE = 65536; // on a GPU, which has work for so many threads
const FIRST = 2048;
const SECOND = 32;

interface Reduction {
  readonly n: number;
  readonly threads: number;
  readonly square?: boolean;
  readonly scale?: number;
  readonly accumulate?: boolean;
}

function reduce(x: Tensor | Region, y: Tensor, reduction: Reduction): void {
  const { n, threads, square = false, scale = 1, accumulate = false } = reduction;
  const overrides = { SQUARE: square, ACCUMULATE: accumulate };
  y.gpu.run(sumKernel, { x, y }, { n, threads, scale }, groupsFor(threads, ROW_WG), { overrides });
}

/** y (SECOND) = partial sums of the n floats of x, or of their squares. */
function partials(x: Region, n: number, square: boolean, y: Tensor): void {
  if (!y.gpu.info.software && quadsOf(n) > WIDE) {
    const wide = Tensor.empty(y.gpu, [WIDE], 'f32', 'sum');
    reduce(x, wide, { n, threads: WIDE, square });
    partials(wide, WIDE, false, y);
    return;
  }
  const threads = Math.min(FIRST, quadsOf(n));
  if (threads <= SECOND) {
    reduce(x, y, { n, threads: y.size, square });
    return;
  }
  const first = Tensor.empty(y.gpu, [threads], 'f32', 'sum');
  reduce(x, first, { n, threads, square });
  reduce(first, y, { n: threads, threads: y.size });
}

/** y (1) (+)= scale · Σ x. */
export function sumInto(x: Tensor, y: Tensor, scale = 1, accumulate = false): void {
  const few = Tensor.empty(x.gpu, [SECOND], 'f32', 'sum');
  partials(x, x.size, false, few);
  reduce(few, y, { n: SECOND, threads: 1, scale, accumulate });
}

/** Number of partial sums of `sumSquares`. */
export const PARTIALS = SECOND;
/** y (PARTIALS) = partial sums of the squares of n floats of x, for clip_norm_step. */
export const sumSquares = (x: Region, n: number, y: Tensor): void => partials(x, n, true, y);

export const sumOp = defineOp({
  name: 'sum',
  inputs: ['x'],
  formula: 'y = scale · Σ x over all axes',
  shape: () => [1],
  forward: ({ x }, y, { scale }: { scale: number }) => sumInto(x, y, scale),
  backward: ({ dy, attrs, grad }) => {
    const { tensor, accumulate } = grad('x');
    const params = { quads: quadsOf(tensor.size), factor: attrs.scale };
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(fillKernel, { x: dy, y: tensor }, params, elementwise(tensor.size), { overrides });
  },
  needs: {},
  flops: ({ x }) => numel(x),
  terms: ({ x }) => numel(x),
  reference: ({ x }, _, { scale }) => Float64Array.of(Math.fround(scale) * x.reduce((a, b) => a + b, 0)),
  samples: [1, 2, 3, 7, 127, 128, 129, 257, 8191, 8197].map((n) => ({
    inputs: { x: [n] },
    attrs: { scale: 0.5 },
  })),
  bench: [{ inputs: { x: [64, 65, 192] }, attrs: { scale: 1 } }],
  errors: [],
});

/** scale · Σ x over all axes, of shape (1): the mean where scale is 1/n. */
export const sum = (x: Tensor, scale = 1): Tensor => apply(sumOp, { x }, { scale });
