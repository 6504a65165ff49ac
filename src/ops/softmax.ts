import backward from '../../kernels/loss/softmax_backward.wgsl';
import forward from '../../kernels/loss/softmax_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG } from './common.js';

const forwardKernel = defineKernel('softmax_forward', forward);
const backwardKernel = defineKernel('softmax_backward', backward);

export const softmaxOp = defineOp({
  name: 'softmax',
  inputs: ['x'],
  formula: 'y = exp(x − max x) / Σ exp(x − max x) over the last axis',
  shape: ({ x }) => {
    need(x.length >= 1, 'softmax', `needs at least one axis, not ${formatShape(x)}.`);
    return x;
  },
  forward: ({ x }, y) => {
    const [R, C] = [rowsOf(y.shape), lastAxis(y.shape)];
    y.gpu.run(forwardKernel, { x, y }, { R, C }, groupsFor(R, ROW_WG));
  },
  backward: ({ output: y, dy, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const [R, C] = [rowsOf(y.shape), lastAxis(y.shape)];
    y.gpu.run(backwardKernel, { y, dy, dx }, { R, C }, groupsFor(R, ROW_WG), {
      overrides: { ACCUMULATE: accumulate },
    });
  },
  needs: { output: true },
  flops: ({ x }) => 5 * numel(x),
  reference: ({ x }, shapes) => {
    const C = lastAxis(shapes.x);
    const y = new Float64Array(x.length);
    for (let start = 0; start < y.length; start += C) {
      const row = x.subarray(start, start + C);
      const highest = row.reduce((most, v) => Math.max(most, v), Number.NEGATIVE_INFINITY);
      const mass = row.reduce((sum, v) => sum + Math.exp(v - highest), 0);
      for (let c = 0; c < C; c++) y[start + c] = Math.exp(row[c]! - highest) / mass;
    }
    return y;
  },
  samples: [
    [1, 1],
    [3, 7],
    [2, 257],
    [65, 2],
    [5, 1031],
  ].map((x) => ({ inputs: { x } })),
  bench: [{ inputs: { x: [64, 3, 65, 65] } }],
  errors: [{ shapes: { x: [] }, says: /\[softmax\] needs at least one axis/ }],
});

/** Softmax over the last axis of x (…, C): torch.nn.functional.softmax. */
export const softmax = (x: Tensor): Tensor => apply(softmaxOp, { x });
