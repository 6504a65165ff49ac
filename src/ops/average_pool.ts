import backward from '../../kernels/tokens/average_pool_backward.wgsl';
import forward from '../../kernels/tokens/average_pool_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { ELEMENTWISE_WG, groupsFor, tabulate } from './common.js';

const forwardKernel = defineKernel('average_pool_forward', forward);
const backwardKernel = defineKernel('average_pool_backward', backward);

/** Height and width of the result. */
interface Attrs {
  readonly size: readonly [number, number];
}

type Images = readonly [number, number, number, number];

function params(x: Shape, { size: [outH, outW] }: Attrs) {
  const [, , H, W] = x as Images;
  return { H, W, outH, outW };
}

const row = (x: Shape, height: number, width = height) => ({
  inputs: { x },
  attrs: { size: [height, width] as [number, number] },
});

export const averagePoolOp = defineOp({
  name: 'average_pool',
  inputs: ['x'],
  formula: 'y[b, c, i, j] = mean of the pixels of window (i, j),   x (B, C, H, W), y (B, C, H′, W′)',
  shape: ({ x }, { size }: Attrs) => {
    need(x.length === 4, 'average_pool', `x ${formatShape(x)} must be (B, C, H, W).`);
    const [B, C, H, W] = x as Images;
    const [height, width] = size;
    need(
      height >= 1 && width >= 1 && height <= H && width <= W,
      'average_pool',
      `the result ${formatShape(size)} must have at least 1 pixel and at most those of x ${formatShape(x)}.`,
    );
    return [B, C, height, width];
  },
  forward: ({ x }, y, attrs) => {
    const all = { n: y.size, ...params(x.shape, attrs) };
    y.gpu.run(forwardKernel, { x, y }, all, groupsFor(y.size, ELEMENTWISE_WG));
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const all = { n: dx.size, ...params(dx.shape, attrs) };
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, { dy, dx }, all, groupsFor(dx.size, ELEMENTWISE_WG), { overrides });
  },
  needs: {},
  flops: ({ x }) => x.reduce((n, d) => n * d, 1),
  reference: ({ x }, shapes, attrs) => {
    const [B, C] = shapes.x as Images;
    const { H, W, outH, outW } = params(shapes.x, attrs);
    return tabulate([B, C, outH, outW], (at) => {
      const [j, i] = [at % outW, Math.floor(at / outW) % outH];
      const plane = Math.floor(at / (outW * outH)) * H * W;
      const [top, bottom] = [Math.floor((i * H) / outH), Math.ceil(((i + 1) * H) / outH)];
      const [left, right] = [Math.floor((j * W) / outW), Math.ceil(((j + 1) * W) / outW)];
      let sum = 0;
      for (let r = top; r < bottom; r++) for (let c = left; c < right; c++) sum += x[plane + r * W + c]!;
      return sum / ((bottom - top) * (right - left));
    });
  },
  samples: [
    row([1, 1, 1, 1], 1),
    row([2, 3, 8, 8], 4),
    row([1, 2, 7, 5], 3, 4),
    row([1, 3, 32, 32], 24),
    row([2, 1, 5, 7], 1),
    row([1, 2, 6, 6], 6),
  ],
  bench: [row([64, 3, 32, 32], 16)],
  errors: [
    { shapes: { x: [2, 3, 8] }, attrs: { size: [4, 4] }, says: /\[average_pool\] x \(2, 3, 8\) must be/ },
    { shapes: { x: [2, 3, 4, 4] }, attrs: { size: [5, 4] }, says: /\[average_pool\] the result \(5, 4\)/ },
  ],
});

/**
 * Images x (B, C, H, W) of fewer pixels, (B, C, H′, W′): each is the mean of a window. Windows overlap where a size does not divide
 * the other. torch.nn.functional.adaptive_avg_pool2d. Throws a ShapeError for a larger `size`.
 */
export const averagePool = (x: Tensor, size: readonly [number, number]): Tensor =>
  apply(averagePoolOp, { x }, { size });
