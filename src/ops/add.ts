import source from '../../kernels/elementwise/add_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { elementwise, quadsOf, tabulate } from './common.js';
import { passGrad } from './gradients.js';

const kernel = defineKernel('add_forward', source);

/** True where b, without its leading axes of size one, is the end of a's shape: b then repeats along a. */
function repeats(a: Shape, b: Shape): boolean {
  const first = b.findIndex((d) => d !== 1);
  const core = first < 0 ? [] : b.slice(first);
  return b.length <= a.length && core.every((d, i) => d === a[a.length - core.length + i]);
}

const row = (a: Shape, b: Shape) => ({ inputs: { a, b } });

export const addOp = defineOp({
  name: 'add',
  inputs: ['a', 'b'],
  formula: 'y = a + b, b repeated along the leading axes of a',
  shape: ({ a, b }) => {
    need(
      repeats(a, b),
      'add',
      `b ${formatShape(b)} must have the shape of a ${formatShape(a)}, or of its last axes.`,
    );
    return a;
  },
  forward: ({ a, b }, y) => {
    const quads = quadsOf(y.size);
    const period = a.size === b.size ? 4 * quads : b.size;
    y.gpu.run(kernel, { a, b, y }, { quads, period }, elementwise(y.size));
  },
  backward: (call) => {
    const { a, b } = call.inputs;
    passGrad(call, 'a');
    if (a.size === b.size) return passGrad(call, 'b');
    const db = call.wanted('b');
    if (!db) return;
    const { tensor, accumulate } = db;
    columnSum(call.dy, tensor, { rows: a.size / b.size, columns: b.size, accumulate });
  },
  needs: {},
  flops: ({ a }) => numel(a),
  reference: ({ a, b }, shapes) => tabulate(shapes.a, (i) => a[i]! + b[i % b.length]!),
  samples: [
    row([7], [7]),
    row([1, 1031], [1031]),
    row([3, 2, 8], [1, 2, 8]),
    row([5, 3], [3]),
    row([4, 1], [1]),
    row([70, 5, 3], [5, 3]),
  ],
  bench: [row([64, 65, 192], [64, 65, 192]), row([64, 65, 192], [1, 65, 192])],
  errors: [
    { shapes: { a: [2, 3], b: [2] }, says: /\[add\] b \(2,\) must have the shape of a \(2, 3\)/ },
    { shapes: { a: [3], b: [2, 3] }, says: /\[add\]/ },
  ],
});

/** a + b. Leading axes of b that are 1 or missing are repeated along a; the result has a's shape. */
export const add = (a: Tensor, b: Tensor): Tensor => apply(addOp, { a, b });
