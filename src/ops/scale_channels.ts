import source from '../../kernels/elementwise/multiply_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { elementwise, quadsOf, tabulate } from './common.js';

const kernel = defineKernel('multiply_forward', source);

/** y (+)= a · b, b repeated along a. */
function multiply(a: Tensor, b: Tensor, y: Tensor, accumulate: boolean): void {
  const quads = quadsOf(y.size);
  const period = a.size === b.size ? 4 * quads : b.size;
  const overrides = { ACCUMULATE: accumulate };
  a.gpu.run(kernel, { a, b, y }, { quads, period }, elementwise(y.size), { overrides });
}

const row = (R: number, C: number) => ({ inputs: { x: [R, C], gamma: [C] } });

export const scaleChannelsOp = defineOp({
  name: 'scale_channels',
  inputs: ['x', 'gamma'],
  formula: 'y = x · gamma,   x (…, C), gamma (C)',
  shape: ({ x, gamma }) => {
    need(
      gamma.length === 1 && gamma[0] === lastAxis(x),
      'scale_channels',
      `gamma ${formatShape(gamma)} must have the last axis of x ${formatShape(x)}.`,
    );
    return x;
  },
  forward: ({ x, gamma }, y) => multiply(x, gamma, y, false),
  backward: ({ inputs: { x, gamma }, dy, wanted }) => {
    const dx = wanted('x');
    if (dx) multiply(dy, gamma, dx.tensor, dx.accumulate);
    const dgamma = wanted('gamma');
    if (!dgamma) return;
    const products = Tensor.empty(x.gpu, x.shape, 'f32', 'scale_channels.products');
    multiply(dy, x, products, false);
    const { tensor, accumulate } = dgamma;
    columnSum(products, tensor, { rows: rowsOf(x.shape), columns: gamma.size, accumulate });
  },
  needs: { inputs: ['x', 'gamma'] },
  flops: ({ x }) => numel(x),
  reference: ({ x, gamma }, shapes) => tabulate(shapes.x, (i) => x[i]! * gamma[i % gamma.length]!),
  samples: [row(1, 1), row(3, 7), row(2, 257), row(65, 12), row(70, 9)],
  bench: [{ inputs: { x: [64, 65, 192], gamma: [192] } }],
  errors: [{ shapes: { x: [2, 5], gamma: [4] }, says: /\[scale_channels\] gamma \(4,\).*x \(2, 5\)/ }],
});

/** x · gamma, channel by channel: x (…, C), gamma (C). LayerScale (Touvron et al., 2021) is this with a small gamma. */
export const scaleChannels = (x: Tensor, gamma: Tensor): Tensor => apply(scaleChannelsOp, { x, gamma });
