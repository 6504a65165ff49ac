/** The checks of src/check find what is wrong, and say what. */
import { expect, it } from 'vitest';
import { attentionSizes, checkAttention } from '../src/check/attention.js';
import type { AnyOp } from '../src/check/expectation.js';
import { checkSample } from '../src/check/ops.js';
import { checkProduct } from '../src/check/product.js';
import { everyChoice, forwards, keyBackwards, queryBackwards } from '../src/ops/attention_kernels.js';
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

it('a digest is the same for the same bits and another for others', async () => {
  const digests = async (factor: number) =>
    (await checkSample(gpuOf(), right, { ...sample, attrs: { factor } })).map(({ digest }) => digest);
  expect(await digests(0.5)).toEqual(await digests(0.5));
  expect(await digests(0.5)).not.toEqual(await digests(0.50001));
});

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

it.each([
  [forwards, 'lse[row] = highest + log(mass)', 'lse[row] = highest', /lse at/],
  [forwards, 'sum[d] * shrink', 'sum[d]', /o at/],
  [queryBackwards, 'd_sum += dy[d]', 'd_sum += 1.001 * dy[d]', /delta at/],
  [queryBackwards, 'delta[row] = d_sum', 'dqkv[3u * p.N * p.H * HEAD] = 1.0', /stray store/],
  [keyBackwards, 'keep * weight', 'weight', /dqkv at/],
] as const)('attention with $2 for $1', async (family, correct, wrong, says) => {
  const trial = { B: 1, N: 5, H: 2, head: 4, rate: 0.3 };
  const { kernel, tune } = everyChoice(family, gpuOf().info, attentionSizes(trial)).at(-1)!;
  const faulty = {
    ...kernel,
    name: `${kernel.name} with ${wrong}`,
    source: kernel.source.replace(correct, wrong),
  };
  const [found] = await checkAttention(gpuOf(), trial, (it) =>
    it === family ? [{ kernel: faulty, tune }] : [],
  );
  expect(found?.problems.join()).toMatch(says);
});
