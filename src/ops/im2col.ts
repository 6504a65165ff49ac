import backward from '../../kernels/tokens/im2col_backward.wgsl';
import forward from '../../kernels/tokens/im2col_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, rowsOf, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { ELEMENTWISE_WG, groupsFor, tabulate } from './common.js';

const forwardKernel = defineKernel('im2col_forward', forward);
const backwardKernel = defineKernel('im2col_backward', backward);

/** Height and width of a patch, of the step between patches, and of the zeros around the image. */
export interface PatchGeometry {
  readonly patch: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
}

/** The number of patches down and across: torch.nn.Conv2d's output size. */
export function patchGrid(
  [H, W]: readonly [number, number],
  { patch, stride, padding }: PatchGeometry,
): [number, number] {
  const along = (size: number, i: 0 | 1) => Math.floor((size + 2 * padding[i] - patch[i]) / stride[i]) + 1;
  return [along(H, 0), along(W, 1)];
}

interface Attrs extends PatchGeometry {
  /** For tokens (B, H·W, C): H and W. Absent for images (B, C, H, W). */
  readonly grid?: readonly [number, number] | undefined;
}

/** Channels, height and width of images, or of tokens on a grid. */
function imageOf(x: Shape, grid: Attrs['grid']): { C: number; H: number; W: number } {
  const [, first, second, third] = x as readonly [number, number, number, number];
  return grid ? { C: second, H: grid[0], W: grid[1] } : { C: first, H: second, W: third };
}

function params(x: Shape, attrs: Attrs) {
  const { C, H, W } = imageOf(x, attrs.grid);
  const [outH, outW] = patchGrid([H, W], attrs);
  const { patch, stride, padding } = attrs;
  return {
    C,
    H,
    W,
    outH,
    outW,
    PH: patch[0],
    PW: patch[1],
    SH: stride[0],
    SW: stride[1],
    padH: padding[0],
    padW: padding[1],
  };
}

const square = (patch: number, stride = patch, padding = 0): PatchGeometry => ({
  patch: [patch, patch],
  stride: [stride, stride],
  padding: [padding, padding],
});

const row = (x: Shape, attrs: Attrs) => ({ inputs: { x }, attrs });

export const im2colOp = defineOp({
  name: 'im2col',
  inputs: ['x'],
  formula:
    'y[b, n] = the pixels of patch n, channel by channel,   x (B, C, H, W) or (B, H·W, C), y (B, N, C·PH·PW)',
  shape: ({ x }, attrs: Attrs) => {
    const { grid } = attrs;
    if (grid)
      need(
        x.length === 3 && x[1] === grid[0] * grid[1],
        'im2col',
        `x ${formatShape(x)} must be (B, H·W, C) for a grid of ${formatShape(grid)}.`,
      );
    else need(x.length === 4, 'im2col', `x ${formatShape(x)} must be (B, C, H, W).`);
    const { C, outH, outW, PH, PW } = params(x, attrs);
    const [B] = x as readonly [number];
    need(
      outH > 0 && outW > 0,
      'im2col',
      `patch ${formatShape(attrs.patch)} is larger than the padded image x ${formatShape(x)}.`,
    );
    return [B, outH * outW, C * PH * PW];
  },
  forward: ({ x }, y, attrs) => {
    const rows = rowsOf(y.shape);
    const overrides = { TOKENS: attrs.grid !== undefined };
    y.gpu.run(forwardKernel, { x, y }, { rows, ...params(x.shape, attrs) }, rows, { overrides });
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const all = { n: dx.size, ...params(dx.shape, attrs) };
    const overrides = { ACCUMULATE: accumulate, TOKENS: attrs.grid !== undefined };
    dy.gpu.run(backwardKernel, { dy, dx }, all, groupsFor(dx.size, ELEMENTWISE_WG), { overrides });
  },
  needs: {},
  flops: () => 0,
  reference: ({ x }, shapes, attrs) => {
    const [B] = shapes.x as readonly [number];
    const { C, H, W, outH, outW, PH, PW, SH, SW, padH, padW } = params(shapes.x, attrs);
    return tabulate([B, outH * outW, C * PH * PW], (at) => {
      const [j, i] = [at % PW, Math.floor(at / PW) % PH];
      const c = Math.floor(at / (PW * PH)) % C;
      const patch = Math.floor(at / (PW * PH * C));
      const row = (Math.floor(patch / outW) % outH) * SH + i - padH;
      const column = (patch % outW) * SW + j - padW;
      if (row < 0 || row >= H || column < 0 || column >= W) return 0;
      const b = Math.floor(patch / (outW * outH));
      return attrs.grid ? x[((b * H + row) * W + column) * C + c]! : x[((b * C + c) * H + row) * W + column]!;
    });
  },
  samples: [
    row([1, 1, 1, 1], square(1)),
    row([2, 3, 8, 8], square(4)),
    row([1, 3, 7, 9], square(3, 2, 1)),
    row([2, 2, 12, 18], { patch: [3, 6], stride: [3, 3], padding: [0, 3] }),
    row([1, 2, 5, 5], square(2, 3)),
    row([3, 1, 6, 4], { patch: [1, 3], stride: [2, 1], padding: [0, 2] }),
    row([1, 1, 1], { ...square(1), grid: [1, 1] }),
    row([2, 64, 5], { ...square(3, 2, 1), grid: [8, 8] }),
    row([3, 24, 7], { patch: [1, 3], stride: [2, 1], padding: [0, 2], grid: [6, 4] }),
    row([1, 35, 67], { ...square(2, 3), grid: [5, 7] }),
  ],
  bench: [row([64, 3, 32, 32], square(4)), row([64, 256, 96], { ...square(3, 2, 1), grid: [16, 16] })],
  errors: [
    { shapes: { x: [2, 3, 8] }, attrs: square(4), says: /\[im2col\] x \(2, 3, 8\) must be/ },
    { shapes: { x: [2, 3, 4, 4] }, attrs: square(5), says: /\[im2col\] patch \(5, 5\) is larger/ },
    {
      shapes: { x: [2, 15, 4] },
      attrs: { ...square(2), grid: [4, 4] },
      says: /\[im2col\] x \(2, 15, 4\) must be \(B, H·W, C\) for a grid of \(4, 4\)/,
    },
  ],
});

/**
 * Cuts images into patches, one row each: x (B, C, H, W) to (B, N, C·PH·PW), as torch.nn.functional.unfold transposed. With
 * `grid` (H, W), x are tokens (B, H·W, C), such as a convolution gives; the result is the same.
 */
export const im2col = (x: Tensor, geometry: PatchGeometry, grid?: readonly [number, number]): Tensor =>
  apply(im2colOp, { x }, { ...geometry, grid });
