import backward from '../../kernels/tokens/diagonal_shifts_backward.wgsl';
import forward from '../../kernels/tokens/diagonal_shifts_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { tabulate } from './common.js';

const forwardKernel = defineKernel('diagonal_shifts_forward', forward);
const backwardKernel = defineKernel('diagonal_shifts_backward', backward);

interface Attrs {
  /** Pixels down and across. */
  readonly shift: readonly [number, number];
}

type Images = readonly [number, number, number, number];

/** The directions, down and across: the image itself, and four diagonals. */
const DIRECTIONS = [
  [0, 0],
  [-1, -1],
  [-1, 1],
  [1, -1],
  [1, 1],
] as const;

function params(x: Shape, { shift }: Attrs) {
  const [, C, H, W] = x as Images;
  return { C, H, W, SH: shift[0], SW: shift[1] };
}

const planesOf = (shape: Shape): number => (shape[0] as number) * (shape[1] as number);

const row = (x: Images, shift: Attrs['shift']) => ({ inputs: { x }, attrs: { shift } });

export const diagonalShiftsOp = defineOp({
  name: 'diagonal_shifts',
  inputs: ['x'],
  formula:
    'y[b, k·C + c, i, j] = x[b, c, i + r_k·SH, j + s_k·SW], zero outside,   x (B, C, H, W), y (B, 5·C, H, W)',
  shape: ({ x }, _: Attrs) => {
    need(x.length === 4, 'diagonal_shifts', `x ${formatShape(x)} must be (B, C, H, W).`);
    const [B, C, H, W] = x as Images;
    return [B, DIRECTIONS.length * C, H, W];
  },
  forward: ({ x }, y, attrs) => {
    const planes = planesOf(y.shape);
    y.gpu.run(forwardKernel, { x, y }, { planes, ...params(x.shape, attrs) }, planes);
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const planes = planesOf(dx.shape);
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, { dy, dx }, { planes, ...params(dx.shape, attrs) }, planes, { overrides });
  },
  needs: {},
  flops: () => 0,
  reference: ({ x }, shapes, { shift }) => {
    const [B, C, H, W] = shapes.x as Images;
    return tabulate([B, DIRECTIONS.length * C, H, W], (at) => {
      const plane = Math.floor(at / (H * W));
      const [b, k] = [Math.floor(plane / C / DIRECTIONS.length), Math.floor(plane / C) % DIRECTIONS.length];
      const [down, across] = DIRECTIONS[k]!;
      const row = (Math.floor(at / W) % H) + down * shift[0];
      const column = (at % W) + across * shift[1];
      if (row < 0 || row >= H || column < 0 || column >= W) return 0;
      return x[((b * C + (plane % C)) * H + row) * W + column]!;
    });
  },
  samples: [
    row([1, 1, 1, 1], [0, 0]),
    row([2, 3, 8, 8], [2, 2]),
    row([1, 2, 7, 9], [1, 3]),
    row([3, 1, 4, 67], [5, 66]),
    row([5, 3, 3, 2], [1, 1]),
  ],
  bench: [row([64, 3, 32, 32], [2, 2])],
  errors: [
    { shapes: { x: [2, 3, 8] }, attrs: { shift: [1, 1] }, says: /\[diagonal_shifts\] x \(2, 3, 8\) must be/ },
  ],
});

/**
 * The images, and behind their channels those of the images shifted to the four diagonals by (down, across) pixels: x
 * (B, C, H, W) to (B, 5·C, H, W). Shifted pixels from beyond the border are zero.
 */
export const diagonalShifts = (x: Tensor, shift: Attrs['shift']): Tensor =>
  apply(diagonalShiftsOp, { x }, { shift });
