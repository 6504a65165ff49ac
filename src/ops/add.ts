import source from '../../kernels/elementwise/add_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { elementwise, quadsOf, tabulate } from './common.js';
import { passGrad } from './gradients.js';

const kernel = defineKernel('add_forward', source);

/** Whether b, without leading axes of size one, is the end of a's shape: then it repeats along a. */
function repeats(a: Shape, b: Shape): boolean {
  const first = b.findIndex((d) => d !== 1);
  const core = first < 0 ? [] : b.slice(first);
  return b.length <= a.length && core.every((d, i) => d === a[a.length - core.length + i]);
}

export const addOp = defineOp<null>({
  name: 'add',
  formula: 'y = a + b, b repeated along the leading axes of a',
  shape: ([a, b]) => {
    need(
      repeats(a as Shape, b as Shape),
      'add',
      `b ${formatShape(b as Shape)} must have the shape of a ${formatShape(a as Shape)}, or of its last axes.`,
    );
    return a as Shape;
  },
  forward: ([a, b], y) => {
    const same = (a as Tensor).size === (b as Tensor).size;
    const quads = quadsOf(y.size);
    const period = same ? 4 * quads : (b as Tensor).size;
    y.gpu.run(kernel, { a: a as Tensor, b: b as Tensor, y }, { quads, period }, elementwise(y.size));
    return [];
  },
  backward: (call) => {
    const { dy, inputs } = call;
    const [a, b] = inputs as [Tensor, Tensor];
    passGrad(call, 0);
    if (a.size === b.size) passGrad(call, 1);
    else if (call.wants(1)) {
      const { tensor, accumulate } = call.grad(1);
      columnSum(dy, tensor, { rows: a.size / b.size, columns: b.size, accumulate });
    }
  },
  needs: {},
  flops: ([a]) => numel(a as Shape),
  reference: ([a, b], [shape]) => {
    const [u, v] = [a, b] as [Float64Array, Float64Array];
    return tabulate(shape as Shape, (i) => (u[i] as number) + (v[i % v.length] as number));
  },
  samples: [
    { inputs: [[7], [7]], attrs: null },
    { inputs: [[1, 1031], [1031]], attrs: null },
    {
      inputs: [
        [3, 2, 8],
        [1, 2, 8],
      ],
      attrs: null,
    },
    { inputs: [[5, 3], [3]], attrs: null },
    { inputs: [[4, 1], [1]], attrs: null },
    {
      inputs: [
        [70, 5, 3],
        [5, 3],
      ],
      attrs: null,
    },
  ],
  bench: [
    {
      inputs: [
        [64, 65, 192],
        [64, 65, 192],
      ],
      attrs: null,
    },
    {
      inputs: [
        [64, 65, 192],
        [1, 65, 192],
      ],
      attrs: null,
    },
  ],
  errors: [
    { shapes: [[2, 3], [2]], attrs: null, says: /\[add\] b \(2,\) must have the shape of a \(2, 3\)/ },
    { shapes: [[3], [2, 3]], attrs: null, says: /\[add\]/ },
  ],
});

/** a + b; b may have only the last axes of a (or leading axes of one) and is then repeated. */
export const add = (a: Tensor, b: Tensor): Tensor => apply(addOp, [a, b], null);
