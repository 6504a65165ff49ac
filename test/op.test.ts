/** Named inputs of ops: in samples, in `apply` and on the tape, and the names that the compiler refuses. */
import { expect, it } from 'vitest';
import { given, hasGradient, mapInputs } from '../src/autograd/inputs.js';
import { apply, defineOp } from '../src/autograd/op.js';
import { describeSample } from '../src/autograd/sample.js';
import { Tape } from '../src/autograd/tape.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();

interface Attrs {
  readonly factor: number;
}

/** y = x, with an optional input that no kernel reads. */
const copyOp = defineOp({
  name: 'copy',
  inputs: ['x', 'other?'],
  formula: 'y = x',
  shape: ({ x, other }, { factor }: Attrs) => (other && factor > 1 ? other : x),
  halves: ['other'],
  forward: ({ x }, y) => {
    x.gpu.copy(x, y);
    return { first: Tensor.zeros(x.gpu, [1]) };
  },
  backward: ({ inputs, saved: { first }, attrs: { factor }, dy, grad, wanted, pass }) => {
    if (factor === 2) grad('other');
    expect([inputs.x.shape, first.size, wanted('other')]).toEqual([dy.shape, 1, null]);
    expect([pass('other'), pass('x')]).toEqual([true, true]);
  },
  needs: { inputs: ['x', 'other'] },
  flops: ({ x, other = x }) => x.length + other.length,
  reference: ({ x, other }) => other ?? x,
  samples: [
    { inputs: { x: [3] }, attrs: { factor: 1 } },
    { inputs: { x: [3], other: [4] }, attrs: { factor: 1 } },
    { inputs: { x: [3], other: { u32: [2], below: 9 } }, attrs: { factor: 1 } },
  ],
  errors: [],
});

it('a sample is described by its shapes, its optional inputs of floats and its attributes', () => {
  expect(copyOp.samples.map((sample) => describeSample(copyOp, sample))).toEqual([
    '(3) factor=1',
    '(3) (4) other=true factor=1',
    '(3) (2) factor=1',
  ]);
});

it('inputs that are left out are skipped, and the others keep their order', () => {
  const inputs = { b: 1, left: undefined, a: 2 };
  expect(given<number>(inputs)).toEqual([
    ['b', 1],
    ['a', 2],
  ]);
  expect(mapInputs(inputs, (value, name, index) => `${name}${value}${index}`)).toEqual({
    b: 'b10',
    a: 'a21',
  });
});

it('all inputs have a gradient, or those that are named, or none without a backward pass', () => {
  const { backward: _, ...forwardOnly } = copyOp;
  const some = [copyOp, { ...copyOp, differentiable: ['other' as const] }, forwardOnly];
  const found = some.map((op) => ['x', 'other'].map((name) => hasGradient(op, name)));
  expect(found).toEqual([
    [true, true],
    [false, true],
    [false, false],
  ]);
});

it('a backward pass reads inputs, saved tensors and gradients by name', async () => {
  const gpu = gpuOf();
  const live = gpu.pool.liveBytes;
  const x = Tensor.from(gpu, Float32Array.of(1, 2, 3));
  x.requiresGrad = true;
  const gradient = Tensor.from(gpu, Float32Array.of(4, 5, 6));
  const run = (factor: number) => {
    const tape = new Tape();
    const y = tape.run(() => apply(copyOp, { x, other: undefined }, { factor }));
    expect(tape.flops).toBe(2);
    try {
      tape.backward(y, { gradient });
    } finally {
      y.release();
    }
  };
  run(1);
  expect(() => run(2)).toThrow('copy ran without other, which therefore has no gradient.');
  for (const tensor of [x, gradient]) tensor.release();
  expect(gpu.pool.liveBytes).toBe(live);
});

it('an input that must not be of f16 is refused by its name', () => {
  const gpu = gpuOf();
  const [x, half] = [Tensor.zeros(gpu, [4]), Tensor.zeros(gpu, [4], 'f16')];
  expect(() => apply(copyOp, { x: half }, { factor: 1 })).toThrow(/\[copy\] x must not be of f16/);
  scope(() => void apply(copyOp, { x, other: half }, { factor: 1 }));
  for (const tensor of [x, half]) tensor.release();
});

/** Never run. `tsc` fails where a line below a `@ts-expect-error` compiles. */
export function refusedByTheCompiler(x: Tensor): void {
  // @ts-expect-error: no such input
  apply(copyOp, { x, othre: x }, { factor: 1 });
  // @ts-expect-error: x may not be left out
  apply(copyOp, { other: x }, { factor: 1 });
  // @ts-expect-error: x may not be left out
  apply(copyOp, { x: undefined }, { factor: 1 });
  // @ts-expect-error: no such attribute
  apply(copyOp, { x }, { facter: 1 });
  // @ts-expect-error: attributes may not be left out
  apply(copyOp, { x });
  defineOp({
    name: 'mistyped',
    inputs: ['x', 'other?'],
    formula: '',
    // @ts-expect-error: no such input
    shape: ({ y }, _: Attrs) => y,
    // @ts-expect-error: no such input
    halves: ['y'],
    // @ts-expect-error: an input that may be left out may be undefined
    forward: ({ other }) => ({ first: other.view([1]) }),
    backward: ({ inputs, saved, attrs, grad, wanted, pass }) => {
      // @ts-expect-error: no such input
      inputs.y;
      // @ts-expect-error: no such saved tensor
      saved.second;
      // @ts-expect-error: no such attribute
      attrs.facter;
      // @ts-expect-error: no such input
      grad('y');
      // @ts-expect-error: the `?` is no part of the name
      wanted('other?');
      // @ts-expect-error: no such input
      pass('y');
    },
    // @ts-expect-error: no such input
    needs: { inputs: ['y'] },
    // @ts-expect-error: no such input
    differentiable: ['y'],
    // @ts-expect-error: no such input
    flops: ({ y }) => y.length,
    // @ts-expect-error: no such input
    terms: ({ y }) => y.length,
    // @ts-expect-error: no such input
    reference: ({ y }) => y,
    // @ts-expect-error: no such input
    samples: [{ inputs: { x: [1], y: [1] }, attrs: { factor: 1 } }],
    // @ts-expect-error: x may not be left out
    errors: [{ shapes: { other: [1] }, attrs: { factor: 1 }, says: /x/ }],
  });
}
