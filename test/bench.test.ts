/** The benchmark's rows keep their format, and a training step in the steady state creates no buffer or bind group. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { median, quick } from '../src/bench/measure.js';
import { benchOps } from '../src/bench/ops.js';
import { StepBench } from '../src/bench/step.js';
import { table } from '../src/core/table.js';
import { multiplyAdds } from '../src/ops/ceiling.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withBuild } from './faults/commands.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();

const tiny = { embedDim: 16, depth: 2, numHeads: 2, patchSize: 8, batchSize: 8 };

withBuild();

const positive = expect.toSatisfy((value: number) => Number.isFinite(value) && value > 0);
const some = expect.toSatisfy((value: number) => Number.isFinite(value) && value >= 0);

function bench(...args: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-bench-'));
  const json = join(folder, 'rows.json');
  try {
    const result = spawnSync(process.execPath, ['dist/bench.js', ...args, '--json', json], {
      encoding: 'utf8',
    });
    expect(result.status, result.stderr).toBe(0);
    return { out: result.stdout, rows: JSON.parse(readFileSync(json, 'utf8')) as Record<string, unknown>[] };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

it('has a row for each ceiling and for an op, forward and backward', () => {
  const { out, rows } = bench('--quick', '--filter', '^cross_entropy');
  expect(rows.map(({ op }) => op)).toEqual(['ceiling', 'ceiling', 'cross_entropy', 'cross_entropy.backward']);
  for (const row of rows) {
    expect(row).toEqual({
      op: expect.any(String),
      shape: expect.any(String),
      variant: expect.any(String),
      ms: positive,
      gflops: some,
      gbps: some,
      percent_of_ceiling: positive,
    });
    expect(out).toContain(row.shape);
  }
});

it.each([
  [0, 4],
  [1, 2],
])('ops under --amp move what training moves: halfTensors %d', async (halfTensors, elementBytes) => {
  const gpu = gpuOf();
  gpu.info.knobs.halfTensors = halfTensors;
  const rows = await benchOps(gpu, {
    effort: quick,
    ceilings: { gflops: 1, gbps: 1 },
    variants: false,
    half: true,
    wanted: (name) => name.startsWith('gelu'),
  });
  const bytes = rows.map(({ op, ms, gbps }) => [op, Math.round(ms * gbps * 1e6)]);
  const elements = 64 * 65 * 768;
  expect(bytes).toEqual([
    ['gelu', 2 * elementBytes * elements],
    ['gelu.backward', 3 * elementBytes * elements],
  ]);
});

it('times the step of a chosen model', () => {
  const flags = '--embed-dim 16 --depth 1 --num-heads 2 --patch-size 8 --batch-size 4 --steps 2';
  const { rows } = bench('step', ...flags.split(' '));
  expect(rows).toEqual([
    {
      op: 'step',
      model: '16/1/2 p8 mlp 4 cls',
      batch_size: 4,
      ms: positive,
      images_per_second: positive,
      gflops: positive,
      dispatches: positive,
      submits: 1,
      encode_ms: positive,
      live_mb: positive,
      peak_mb: positive,
      device_mb: positive,
      first_ms: positive,
      created_buffers: 0,
      created_bind_groups: 0,
      pipelines: expect.any(Array),
    },
  ]);
  const pipelines = rows[0]?.pipelines as Record<string, unknown>[];
  expect(pipelines.length).toBeGreaterThan(20);
  for (const pipeline of pipelines)
    expect(pipeline).toEqual({ kernel: expect.any(String), constants: expect.any(String), ms: positive });
  const texts = pipelines.map(({ kernel, constants }) => `${kernel} ${constants}`);
  expect(texts.join('\n')).toMatch(/^\S+ \w+=\d+/m); // a constant is named with its value
});

it.each([
  ['--depth 3', /--depth only works with: node dist\/bench\.js step/],
  ['--filter (', /--filter: Invalid regular expression/],
  ['steps', /There is no command "steps"\. The commands are step/],
  ['step --steps 0', /--steps must be a positive whole number/],
])('refuses %s', (args, says) => {
  const result = spawnSync(process.execPath, ['dist/bench.js', ...args.split(' ')], { encoding: 'utf8' });
  expect(result.stderr).toMatch(says);
  expect(result.status).toBe(2);
});

it('makes nothing anew and holds nothing more over a thousand steps', async () => {
  const gpu = gpuOf();
  const bench = new StepBench(gpu, tiny);
  const now = () => {
    const { liveBytes, reservedBytes, peakBytes, created } = gpu.pool;
    return { liveBytes, reservedBytes, peakBytes, created, bindGroups: gpu.diagnostics.counts.bindGroups };
  };
  for (let i = 0; i < 2; i++) bench.step();
  await gpu.finish();
  const before = now();
  const { submits, dispatches } = gpu.diagnostics.counts;
  bench.step();
  const each = {
    submits: gpu.diagnostics.counts.submits - submits,
    dispatches: gpu.diagnostics.counts.dispatches - dispatches,
  };
  for (let i = 0; i < 1000; i++) {
    bench.step();
    if (i % 50 === 0) await gpu.finish();
  }
  await gpu.finish();
  expect(now()).toEqual(before);
  expect(each.submits).toBe(1);
  expect(gpu.diagnostics.counts.dispatches - dispatches).toBe(1001 * each.dispatches);
});

it('takes medians and draws tables', () => {
  expect([median([3, 1, 2]), median([4, 1, 3, 2]), median([])]).toEqual([2, 2.5, 0]);
  expect(table(['op', 'ms'], [['add', 1.2345]])).toBe(
    ['| op  |   ms |', '|-----|-----:|', '| add | 1.23 |'].join('\n'),
  );
});

it.each([1, 3])('the arithmetic ceiling counts the multiply-adds that it does: %i trips', async (trips) => {
  const [threads, accumulators, rounds] = [70, 6, 4];
  const y = Tensor.empty(gpuOf(), [4 * threads]);
  expect(multiplyAdds(y, trips)).toBe(threads * trips * rounds * accumulators * 4 * 2);
  // c ← 0.875 c + 0.125 brings c nearer to 1 by 0.875 a round.
  const nearer = 0.875 ** (trips * rounds);
  const expected = Array.from({ length: 4 * threads }, (_, at) => {
    const first = (at >> 2) & 3;
    let sum = 0;
    for (let i = 0; i < accumulators; i++) sum += 1 + (first + 0.125 * i - 1) * nearer;
    return sum;
  });
  const values = await y.toFloat32();
  expect(Math.max(...expected.map((value, at) => Math.abs(value - values[at]!)))).toBeLessThan(1e-5);
  y.release();
});
