import source from '../../kernels/loss/correct_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG, tabulate } from './common.js';

const kernel = defineKernel('correct_forward', source);

export const correctOp = defineOp<{ k: number }>({
  name: 'correct',
  formula: 'y[r] = 1 where the label is among the k largest logits of its row, else 0',
  shape: ([logits, labels]) => {
    const [s, t] = [logits, labels] as [Shape, Shape];
    need(
      s.length === 2 && t.length === 1 && t[0] === s[0],
      'correct',
      `labels ${formatShape(t)} must be (R) for logits ${formatShape(s)} of (R, K).`,
    );
    return [s[0] as number];
  },
  forward: ([logits, labels], y, { k }) => {
    const [R, K] = (logits as Tensor).shape as [number, number];
    const operands = { logits: logits as Tensor, labels: labels as Tensor, y };
    y.gpu.run(kernel, operands, { R, K, k }, groupsFor(R, ROW_WG));
    return [];
  },
  needs: {},
  differentiable: [],
  flops: ([logits]) => numel(logits as Shape),
  reference: ([logits, labels], [shape], { k }) => {
    const [R, K] = shape as [number, number];
    return tabulate([R], (r) => {
      const label = labels![r]!;
      const row = (logits as Float64Array).subarray(r * K, (r + 1) * K);
      return Number(row.filter((x, c) => x > row[label]! || (x === row[label]! && c < label)).length < k);
    });
  },
  samples: [
    { inputs: [[1, 1], { u32: [1], below: 1 }], attrs: { k: 1 } },
    { inputs: [[65, 10], { u32: [65], below: 10 }], attrs: { k: 1 } },
    { inputs: [[257, 7], { u32: [257], below: 7 }], attrs: { k: 5 } },
  ],
  errors: [{ shapes: [[4, 10], [3]], attrs: { k: 1 }, says: /\[correct\] labels \(3,\)/ }],
});

/** Which rows have their label among the k largest logits, as ones and zeros: top-k accuracy before the mean. */
export const correct = (logits: Tensor, labels: Tensor, k = 1): Tensor =>
  apply(correctOp, [logits, labels], { k });
