/** The checks of src/check find planted faults and name them. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { AnyOp } from '../src/autograd/op.js';
import { attentionSizes, checkAttention } from '../src/check/attention.js';
import { CheckDevice } from '../src/check/device.js';
import { lacks } from '../src/check/expectation.js';
import { checkSample } from '../src/check/ops.js';
import { checkProduct } from '../src/check/product.js';
import { runTask, type Task, tasks } from '../src/check/tasks.js';
import { defineKernel } from '../src/gpu/pipeline.js';
import { everyChoice, forwards, keyBackwards, queryBackwards } from '../src/ops/attention_kernels.js';
import { plainKernel } from '../src/ops/product_kernels.js';
import { scaleOp } from '../src/ops/scale.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();
const right: AnyOp = scaleOp;
const sample = { inputs: { x: [37] }, attrs: { factor: 0.5 } };
const forward = right.forward;
const backward = right.backward as NonNullable<AnyOp['backward']>;

it.each<[string, Partial<AnyOp>, RegExp | null]>([
  ['nothing', {}, null],
  ['a wrong value', { reference: ({ x }: { x: Float64Array }) => x.map((v, i) => v * (i === 36 ? 0.501 : 0.5)) }, /forward at 36/],
  ['a wrong gradient', { backward: (call) => backward({ ...call, attrs: { factor: 0.501 } }) }, /gradient of x at/],
  ['a gradient that is written where it should be added', { backward: (call) => backward({ ...call, grad: (name) => ({ ...call.grad(name), accumulate: false }) }) }, /adding to the gradient of x at 0/],
  ['a store beyond the end', { forward: (inputs, y, attrs) => forward(inputs, y.offset > 0 ? y.view([37], 64) : y, attrs) }, /stray store/],
  ['memory that is kept', { forward: (inputs, y, attrs) => { y.gpu.pool.acquire(64, 'leak'); return forward(inputs, y, attrs); } }, /not released/],
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

describe('without shader-f16', () => {
  const open = async () => {
    const device = await CheckDevice.open({
      adapter: process.env.PATCHLIGHT_ADAPTER,
      without: ['shader-f16'],
    });
    onTestFinished(() => device.close());
    return device;
  };
  // A few of each kind, because all of them take a minute.
  const few = tasks.filter(({ op }, i) => tasks.findIndex((task) => task.op === op) + 3 > i);

  it('checks of tensors of f16 are left out, and nothing else is wrong', async () => {
    const device = await open();
    const rows = [];
    for (const task of few) if (!lacks(device.gpu.info, task)) rows.push(...(await runTask(device, task)));
    expect(rows.filter(({ problems }) => problems.length > 0)).toEqual([]);
    const leftOut = few.filter((task) => lacks(device.gpu.info, task));
    expect(leftOut.length).toBeGreaterThan(5);
    for (const { op, shape } of leftOut) expect(`${op} ${shape}`).toMatch(/ (f16|narrow)$/);
  });

  it('nothing is left out where there is', () => {
    const features = new Set(['shader-f16']);
    expect(tasks.filter((task) => lacks({ features }, task))).toEqual([]);
  });
});

describe('an error of one check', () => {
  const broken = defineKernel(
    'broken_forward',
    '// broken_forward: none\n@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1)\nfn main() { y[0] = nothing; }',
  );
  const dispatch = (y: Tensor) => y.gpu.run(broken, { y }, {}, 1);
  const task = (run: Task['run']): Task => ({ op: 'test', shape: '', f16: false, run });
  const fine = task(async ({ device }) => [
    { variant: `${device !== undefined}`, worst: 0, digest: '', problems: [] },
  ]);

  it.each<[string, Task['run']]>([
    [
      'that it waits for',
      async (gpu) => {
        const y = Tensor.zeros(gpu, [1]);
        dispatch(y);
        await y.toFloat32();
        return [];
      },
    ],
    [
      'that comes when it has ended',
      async (gpu) => {
        dispatch(Tensor.zeros(gpu, [1]));
        return [];
      },
    ],
  ])('%s is told once, and the next check runs', async (_, run) => {
    const device = await CheckDevice.open({ adapter: process.env.PATCHLIGHT_ADAPTER });
    onTestFinished(() => device.close());
    const first = device.gpu;
    const [found, ...more] = await runTask(device, task(run));
    expect(found).toMatchObject({
      variant: '-',
      problems: [expect.stringMatching(/broken_forward.*nothing/)],
    });
    expect(more).toEqual([]);
    expect(device.gpu).not.toBe(first);
    expect(await runTask(device, fine)).toEqual([expect.objectContaining({ problems: [] })]);
    // The engine itself never continues after an error.
    await expect(first.finish()).rejects.toThrow();
  });
});
