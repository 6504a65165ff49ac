import source from '../../kernels/elementwise/scale_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { numel } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { elementwise, quadsOf } from './common.js';

const kernel = defineKernel('scale_forward', source);

function run(x: Tensor, y: Tensor, factor: number, accumulate: boolean): void {
  x.gpu.run(kernel, { x, y }, { quads: quadsOf(x.size), factor }, elementwise(x.size), {
    tune: { ElementX: x.bits, ElementY: y.bits },
    overrides: { ACCUMULATE: accumulate },
  });
}

/** y += x, in place; x and y of one size, each of f32 or f16. */
export const addInto = (x: Tensor, y: Tensor): void => run(x, y, 1, true);

/** y = x; x and y of one size, each of f32 or f16. */
export const castInto = (x: Tensor, y: Tensor): void => run(x, y, 1, false);

export const scaleOp = defineOp({
  name: 'scale',
  inputs: ['x'],
  formula: 'y = factor · x',
  shape: ({ x }) => x,
  forward: ({ x }, y, { factor }: { factor: number }) => run(x, y, factor, false),
  backward: ({ dy, attrs, grad }) => {
    const { tensor, accumulate } = grad('x');
    run(dy, tensor, attrs.factor, accumulate);
  },
  needs: {},
  flops: ({ x }) => numel(x),
  reference: ({ x }, _, { factor }) => x.map((v) => v * Math.fround(factor)),
  samples: [1, 2, 3, 7, 257, 1023].map((n) => ({ inputs: { x: [n] }, attrs: { factor: 0.3 } })),
  errors: [],
});

/** factor · x, of x's shape. */
export const scale = (x: Tensor, factor: number): Tensor => apply(scaleOp, { x }, { factor });
