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

type Images = readonly [number, number, number, number];

function params(x: Shape, geometry: PatchGeometry) {
  const [, C, H, W] = x as Images;
  const [outH, outW] = patchGrid([H, W], geometry);
  const { patch, stride, padding } = geometry;
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

const row = (x: Shape, attrs: PatchGeometry) => ({ inputs: { x }, attrs });

export const im2colOp = defineOp({
  name: 'im2col',
  inputs: ['x'],
  formula: 'y[b, n] = the pixels of patch n, channel by channel,   x (B, C, H, W), y (B, N, C·PH·PW)',
  shape: ({ x }, geometry: PatchGeometry) => {
    need(x.length === 4, 'im2col', `x ${formatShape(x)} must be (B, C, H, W).`);
    const [B, C, H, W] = x as Images;
    const [outH, outW] = patchGrid([H, W], geometry);
    const [PH, PW] = geometry.patch;
    need(
      outH > 0 && outW > 0,
      'im2col',
      `patch ${formatShape(geometry.patch)} is larger than the padded image x ${formatShape(x)}.`,
    );
    return [B, outH * outW, C * PH * PW];
  },
  forward: ({ x }, y, geometry) => {
    const rows = rowsOf(y.shape);
    y.gpu.run(forwardKernel, { x, y }, { rows, ...params(x.shape, geometry) }, rows);
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const all = { n: dx.size, ...params(dx.shape, attrs) };
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, { dy, dx }, all, groupsFor(dx.size, ELEMENTWISE_WG), { overrides });
  },
  needs: {},
  flops: () => 0,
  reference: ({ x }, shapes, geometry) => {
    const [B] = shapes.x as Images;
    const { C, H, W, outH, outW, PH, PW, SH, SW, padH, padW } = params(shapes.x, geometry);
    return tabulate([B, outH * outW, C * PH * PW], (at) => {
      const [j, i] = [at % PW, Math.floor(at / PW) % PH];
      const c = Math.floor(at / (PW * PH)) % C;
      const patch = Math.floor(at / (PW * PH * C));
      const row = (Math.floor(patch / outW) % outH) * SH + i - padH;
      const column = (patch % outW) * SW + j - padW;
      if (row < 0 || row >= H || column < 0 || column >= W) return 0;
      return x[((Math.floor(patch / (outW * outH)) * C + c) * H + row) * W + column]!;
    });
  },
  samples: [
    row([1, 1, 1, 1], square(1)),
    row([2, 3, 8, 8], square(4)),
    row([1, 3, 7, 9], square(3, 2, 1)),
    row([2, 2, 12, 18], { patch: [3, 6], stride: [3, 3], padding: [0, 3] }),
    row([1, 2, 5, 5], square(2, 3)),
    row([3, 1, 6, 4], { patch: [1, 3], stride: [2, 1], padding: [0, 2] }),
  ],
  bench: [row([64, 3, 32, 32], square(4))],
  errors: [
    { shapes: { x: [2, 3, 8] }, attrs: square(4), says: /\[im2col\] x \(2, 3, 8\) must be/ },
    { shapes: { x: [2, 3, 4, 4] }, attrs: square(5), says: /\[im2col\] patch \(5, 5\) is larger/ },
  ],
});

/** Cuts images into patches, one row each: x (B, C, H, W) to (B, N, C·PH·PW), as torch.nn.functional.unfold transposed. */
export const im2col = (x: Tensor, geometry: PatchGeometry): Tensor => apply(im2colOp, { x }, geometry);
