import source from '../../kernels/elementwise/multiply_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape } from '../core/shape.js';
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

export const scaleChannelsOp = defineOp<null>({
  name: 'scale_channels',
  formula: 'y = x · gamma,   x (…, C), gamma (C)',
  shape: (shapes) => {
    const [x, gamma] = shapes as [Shape, Shape];
    need(
      gamma.length === 1 && gamma[0] === lastAxis(x),
      'scale_channels',
      `gamma ${formatShape(gamma)} must have the last axis of x ${formatShape(x)}.`,
    );
    return x;
  },
  forward: ([x, gamma], y) => {
    multiply(x as Tensor, gamma as Tensor, y, false);
    return [];
  },
  backward: ({ inputs, dy, wants, grad }) => {
    const [x, gamma] = inputs as [Tensor, Tensor];
    if (wants(0)) {
      const { tensor, accumulate } = grad(0);
      multiply(dy, gamma, tensor, accumulate);
    }
    if (wants(1)) {
      const { tensor, accumulate } = grad(1);
      const products = Tensor.empty(x.gpu, x.shape, 'f32', 'scale_channels.products');
      multiply(dy, x, products, false);
      columnSum(products, tensor, { rows: rowsOf(x.shape), columns: gamma.size, accumulate });
    }
  },
  needs: { inputs: [0, 1] },
  flops: ([x]) => numel(x as Shape),
  reference: ([x, gamma], [shape]) => tabulate(shape as Shape, (i) => x![i]! * gamma![i % gamma!.length]!),
  samples: [
    [1, 1],
    [3, 7],
    [2, 257],
    [65, 12],
    [70, 9],
  ].map(([R, C]) => ({ inputs: [[R!, C!], [C!]], attrs: null })),
  bench: [{ inputs: [[64, 65, 192], [192]], attrs: null }],
  errors: [{ shapes: [[2, 5], [4]], attrs: null, says: /\[scale_channels\] gamma \(4,\).*x \(2, 5\)/ }],
});

/** x · gamma, channel by channel: x (…, C), gamma (C). LayerScale (Touvron et al., 2021) is this with a small gamma. */
export const scaleChannels = (x: Tensor, gamma: Tensor): Tensor => apply(scaleChannelsOp, [x, gamma], null);
