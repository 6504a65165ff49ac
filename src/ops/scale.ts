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

/** y += x, in place. */
export const addInto = (x: Tensor, y: Tensor): void => run(x, y, 1, true);

/** y = x, each in its own dtype. */
export const castInto = (x: Tensor, y: Tensor): void => run(x, y, 1, false);

export const scaleOp = defineOp<{ factor: number }>({
  name: 'scale',
  formula: 'y = factor · x',
  shape: ([x]) => x as readonly number[],
  forward: ([x], y, { factor }) => {
    run(x as Tensor, y, factor, false);
    return [];
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor, accumulate } = grad(0);
    run(dy, tensor, attrs.factor, accumulate);
  },
  needs: {},
  flops: ([x]) => numel(x as readonly number[]),
  reference: ([x], _, { factor }) => (x as Float64Array).map((v) => v * Math.fround(factor)),
  samples: [1, 2, 3, 7, 257, 1023].map((n) => ({ inputs: [[n]], attrs: { factor: 0.3 } })),
  errors: [],
});

/** y = factor · x. */
export const scale = (x: Tensor, factor: number): Tensor => apply(scaleOp, [x], { factor });
