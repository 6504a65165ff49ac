/** The checks of src/check find what is wrong, and say what. */
import { expect, it } from 'vitest';
import type { AnyOp } from '../src/check/expectation.js';
import { checkSample } from '../src/check/ops.js';
import { checkProduct } from '../src/check/product.js';
import { plainKernel } from '../src/ops/product_kernels.js';
import { scaleOp } from '../src/ops/scale.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();
const right = scaleOp as AnyOp;
const sample = { inputs: [[37]], attrs: { factor: 0.5 } };
const forward = right.forward;
const backward = right.backward as NonNullable<AnyOp['backward']>;

it.each<[string, Partial<AnyOp>, RegExp | null]>([
  ['nothing', {}, null],
  ['a wrong value', { reference: (x) => x[0]!.map((v, i) => v * (i === 36 ? 0.501 : 0.5)) }, /forward at 36/],
  ['a wrong gradient', { backward: (call) => backward({ ...call, attrs: { factor: 0.501 } }) }, /gradient 0 at/],
  ['a gradient that is written where it should be added', { backward: (call) => backward({ ...call, grad: (i) => ({ ...call.grad(i), accumulate: false }) }) }, /does not double/],
  ['a store beyond the end', { forward: ([x], y, attrs) => forward([x!], y.view([40], 4), attrs) }, /stray store/],
  ['memory that is kept', { forward: (x, y, attrs) => [...forward(x, y, attrs), void y.gpu.pool.acquire(64, 'leak')].slice(0, 0) as never }, /not released/],
])('%s', async (_, wrong, says) => {
  const found = await checkSample(gpuOf(), { ...right, ...wrong }, sample);
  const problems = found.flatMap((finding) => finding.problems);
  if (says) expect(problems.join('\n')).toMatch(says);
  else expect(problems).toEqual([]);
}); // biome-ignore format: one fault a line

it('a product in f16 where one of float32 is wanted is wrong, and the other way round', async () => {
  const trial = { M: 8, N: 8, K: 8 };
  const swapped = {
    kernel: { ...plainKernel, source: plainKernel.source.replace('if (HALF)', 'if (!HALF)') },
    tune: {},
  };
  for (const half of [false, true]) {
    const [fine] = await checkProduct(gpuOf(), { ...trial, half }, [{ kernel: plainKernel, tune: {} }]);
    expect(fine?.problems).toEqual([]);
  }
  const kernel = { ...swapped.kernel, name: 'matmul_forward_swapped' };
  for (const half of [false, true]) {
    const [found] = await checkProduct(gpuOf(), { ...trial, half }, [{ kernel, tune: {} }]);
    expect(found?.problems.join()).toMatch(/c at/);
  }
});
