import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape } from '../core/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { runMatmul } from './matmul.js';

/** Rows, inputs and outputs; a weight of more than two axes (a convolution's) is flattened behind the first. */
function sizes([x, weight]: readonly Shape[]): { rows: number; inputs: number; outputs: number } {
  const [s, w] = [x, weight] as [Shape, Shape];
  return { rows: rowsOf(s), inputs: lastAxis(s), outputs: w[0] as number };
}

export const linearOp = defineOp<null>({
  name: 'linear',
  formula: 'y = x · weightᵀ + bias,   x (…, in), weight (out, in), bias (out)',
  shape: (shapes) => {
    const [x, weight, bias] = shapes as [Shape, Shape, Shape | undefined];
    need(
      x.length >= 1 && weight.length >= 2,
      'linear',
      `x ${formatShape(x)} needs one axis or more, weight ${formatShape(weight)} two.`,
    );
    const inputs = numel(weight.slice(1));
    need(
      lastAxis(x) === inputs,
      'linear',
      `last axis of x ${formatShape(x)} must equal the input axis of weight ${formatShape(weight)}.`,
    );
    if (bias)
      need(
        bias.length === 1 && bias[0] === weight[0],
        'linear',
        `bias ${formatShape(bias)} must have one value per output of weight ${formatShape(weight)}.`,
      );
    return [...x.slice(0, -1), weight[0] as number];
  },
  forward: ([x, weight, bias], y) => {
    const { rows, inputs, outputs } = sizes([(x as Tensor).shape, (weight as Tensor).shape]);
    const shape = { batch: 1, M: rows, N: outputs, K: inputs, transA: false, transB: true };
    runMatmul(shape, { a: x as Tensor, b: weight as Tensor, c: y, bias });
    return [];
  },
  backward: ({ inputs: operands, dy, wants, grad }) => {
    const [x, weight, bias] = operands as [Tensor, Tensor, Tensor | undefined];
    const { rows, inputs, outputs } = sizes([x.shape, weight.shape]);
    if (wants(0)) {
      const { tensor: c, accumulate } = grad(0);
      const shape = { batch: 1, M: rows, N: inputs, K: outputs, transA: false, transB: false };
      runMatmul(shape, { a: dy, b: weight, c, accumulate });
    }
    if (wants(1)) {
      const { tensor: c, accumulate } = grad(1);
      const shape = { batch: 1, M: outputs, N: inputs, K: rows, transA: true, transB: false };
      runMatmul(shape, { a: dy, b: x, c, accumulate });
    }
    if (bias && wants(2)) {
      const { tensor, accumulate } = grad(2);
      columnSum(dy, tensor, { rows, columns: outputs, accumulate });
    }
  },
  needs: { inputs: [0, 1] },
  flops: (shapes) => {
    const { rows, inputs, outputs } = sizes(shapes);
    return 2 * rows * inputs * outputs;
  },
  terms: (shapes) => sizes(shapes).inputs + 1,
  reference: ([x, weight, bias], shapes) => {
    const { rows, inputs, outputs } = sizes(shapes);
    const y = new Float64Array(rows * outputs);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outputs; o++) {
        let sum = bias?.[o] ?? 0;
        for (let i = 0; i < inputs; i++) sum += x![r * inputs + i]! * weight![o * inputs + i]!;
        y[r * outputs + o] = sum;
      }
    return y;
  },
  samples: [
    { inputs: [[1, 1], [1, 1], [1]], attrs: null },
    { inputs: [[3, 7], [2, 7], [2]], attrs: null },
    { inputs: [[2, 5, 12], [8, 12], [8]], attrs: null },
    { inputs: [[65, 16], [68, 16], [68]], attrs: null },
    {
      inputs: [
        [65, 16],
        [10, 16],
      ],
      attrs: null,
    },
    { inputs: [[4, 12], [8, 3, 2, 2], [8]], attrs: null },
    { inputs: [[257, 4], [4, 4], [4]], attrs: null },
  ],
  bench: [{ inputs: [[64, 65, 192], [768, 192], [768]], attrs: null }],
  errors: [
    {
      shapes: [
        [2, 5],
        [4, 6],
      ],
      attrs: null,
      says: /\[linear\] last axis of x \(2, 5\) must equal the input axis of weight \(4, 6\)/,
    },
    { shapes: [[2, 6], [4, 6], [6]], attrs: null, says: /\[linear\] bias \(6,\)/ },
  ],
});

/** x · weightᵀ + bias (torch.nn.functional.linear): x (…, in), weight (out, in), bias (out). */
export const linear = (x: Tensor, weight: Tensor, bias?: Tensor): Tensor =>
  apply(linearOp, bias ? [x, weight, bias] : [x, weight], null);
