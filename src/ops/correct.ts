import source from '../../kernels/loss/correct_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG, tabulate } from './common.js';

const kernel = defineKernel('correct_forward', source);

export const correctOp = defineOp({
  name: 'correct',
  inputs: ['logits', 'labels'],
  formula: 'y[r] = 1 where the label is among the k largest logits of its row, else 0',
  shape: ({ logits, labels }) => {
    need(
      logits.length === 2 && labels.length === 1 && labels[0] === logits[0],
      'correct',
      `labels ${formatShape(labels)} must be (R) for logits ${formatShape(logits)} of (R, K).`,
    );
    return labels;
  },
  forward: ({ logits, labels }, y, { k }: { k: number }) => {
    const [R, K] = logits.shape as [number, number];
    y.gpu.run(kernel, { logits, labels, y }, { R, K, k }, groupsFor(R, ROW_WG));
  },
  needs: {},
  differentiable: [],
  flops: ({ logits }) => numel(logits),
  reference: ({ logits, labels }, shapes, { k }) => {
    const [R, K] = shapes.logits as [number, number];
    return tabulate([R], (r) => {
      const label = labels[r]!;
      const row = logits.subarray(r * K, (r + 1) * K);
      return Number(row.filter((x, c) => x > row[label]! || (x === row[label]! && c < label)).length < k);
    });
  },
  samples: [
    { inputs: { logits: [1, 1], labels: { u32: [1], below: 1 } }, attrs: { k: 1 } },
    { inputs: { logits: [65, 10], labels: { u32: [65], below: 10 } }, attrs: { k: 1 } },
    { inputs: { logits: [257, 7], labels: { u32: [257], below: 7 } }, attrs: { k: 5 } },
  ],
  errors: [{ shapes: { logits: [4, 10], labels: [3] }, says: /\[correct\] labels \(3,\)/ }],
});

/** Top-k accuracy before the mean: logits (R, K), labels (R) of u32, to (R) ones and zeros. The lower class wins ties. */
export const correct = (logits: Tensor, labels: Tensor, k = 1): Tensor =>
  apply(correctOp, { logits, labels }, { k });
