/** Every op of the registry, every sample and every kernel variant that the adapter can run, checked by src/check. */
import { describe, expect, it } from 'vitest';
import { describeSample } from '../src/autograd/sample.js';
import { lacks, worksInHalf } from '../src/check/expectation.js';
import { checkOp } from '../src/check/op.js';
import { ops } from '../src/ops/index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();

describe.each(ops.map((op) => [op.name, op] as const))('%s', (_, op) => {
  for (const [i, sample] of op.samples.entries())
    it(describeSample(op, sample), { tags: i === 0 ? ['quick'] : [] }, async () => {
      for (const { variant, problems } of await checkOp(gpuOf(), op, { samples: [sample], f16: false }))
        expect(problems, variant).toEqual([]);
    });

  it.for(
    op.samples.filter(() => worksInHalf(op)).map((sample) => [describeSample(op, sample), sample] as const),
  )('%s of f16', async ([, sample], { skip }) => {
    const reason = lacks(gpuOf().info, { f16: true });
    if (reason) return skip(reason);
    for (const { variant, problems } of await checkOp(gpuOf(), op, { samples: [sample], f16: true }))
      expect(problems, variant).toEqual([]);
  });

  it.each(op.errors.map((error) => [String(error.says), error] as const))(
    'refuses: %s',
    (_, { shapes, attrs, says }) => {
      expect(() => op.shape(shapes, attrs)).toThrow(says);
    },
  );
});

it('frees what a scope does not return', () => {
  const gpu = gpuOf();
  const live = gpu.pool.liveBytes;
  scope(() => {
    Tensor.zeros(gpu, [1000]);
  });
  expect(gpu.pool.liveBytes).toBe(live);
});
