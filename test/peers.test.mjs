/** The command line of `npm run bench:peers`, and its report of a trainer without a result. Nothing is installed or timed. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { complaint, peerEnvironment, resultIn, unlessReference } from '../bench/peers/contestants.mjs';
import { busyTicks, counted, foreignShare, ownTicks, withLoad } from '../bench/peers/load.mjs';
import { matmulModel } from '../bench/peers/onnx_matmul.mjs';
import { readOptions } from '../bench/peers/options.mjs';
import { hostPeak } from '../bench/peers/peak.mjs';
import { digits, finiteMedian, loadRange, peakLine, table } from '../bench/peers/tables.mjs';
import { operandValues } from '../bench/peers/timing.mjs';

const words = (text) => text.split(' ').filter(Boolean);
const names = ['step-a', 'step-b', 'matmul'];

it.each([
  ['', { quick: false, save: false, rounds: 3, seconds: 300, comparisons: names.map((name) => ({ name })) }],
  ['--quick', { quick: true, rounds: 1 }],
  ['--quick --rounds 2 --timeout=9 --save', { save: true, rounds: 2, seconds: 9 }],
  ['--only matmul,step-a@16', { comparisons: [{ name: 'matmul' }, { name: 'step-a', batch: 16 }] }],
  ['--help', { help: true }],
])('reads "%s"', (typed, expected) => {
  expect(readOptions(words(typed), names)).toMatchObject(expected);
});

it.each([
  ['--nope', /^Unknown option '--nope'\. --help lists what there is\.$/],
  ['more', /^Unexpected argument 'more'\. --help lists/],
  ['--quick=yes', /'--quick' does not take an argument\. --help lists/],
  ['--rounds', /argument missing\. --help lists/],
  ['--rounds 0', /^--rounds must be a whole number from 1 to 2000000, not "0"\.$/],
  ['--rounds x', /not "x"/],
  ['--rounds 1.5', /not "1\.5"/],
  ['--rounds=', /not ""/],
  ['--timeout -1', /--timeout/],
  ['--timeout 3000000', /not "3000000"/],
  ['--timeout 1e99', /--timeout must be a whole number from 1 to 2000000, not "1e99"/],
  ['--only step-c', /^--only knows step-a, step-b, matmul, not "step-c"\.$/],
  ['--only=', /not ""/],
  ['--only step-a,', /not ""/],
  ['--only step-a@', /^--only step-a@ must be a whole number from 1 to 2000000, not ""\.$/],
  ['--only step-a@x', /not "x"/],
  ['--only matmul@3', /^--only matmul@3: a batch size goes with a step, as in step-tiny@16\.$/],
])('refuses "%s"', (typed, says) => {
  expect(() => readOptions(words(typed), names)).toThrow(says);
});

describe('npm run bench:peers', () => {
  const run = (...args) =>
    spawnSync(process.execPath, ['bench/peers/run.mjs', ...args], { encoding: 'utf8' });

  it('has a help text', () => {
    const { status, stdout, stderr } = run('--help');
    expect(stdout).toMatch(/^npm run bench:peers -- \[flags\]\n/);
    expect([status, stderr]).toEqual([0, '']);
  });

  it('ends in a sentence where it was typed wrong', () => {
    const { status, stdout, stderr } = run('--only', 'nope');
    expect(stderr).toMatch(/^--only knows step-small, .*, not "nope"\.\n$/);
    expect([status, stdout]).toEqual([2, '']);
  });
});

it.each([
  [
    "Error [ERR_MODULE_NOT_FOUND]: Cannot find package '@jax-js/jax' imported from /x/jax.mjs\n    at y (z:1:2)\nNode.js v20",
    'its package @jax-js/jax is not installed',
  ],
  [
    "Error: Cannot find module '@tensorflow/tfjs'\nRequire stack:\n- /x/tfjs.mjs\n    at y",
    'its package @tensorflow/tfjs is not installed',
  ],
  [
    "Traceback:\n  File x\nModuleNotFoundError: No module named 'torch'",
    'its package torch is not installed',
  ],
  ['RuntimeError: the sky is low\n    at x', 'RuntimeError: the sky is low'],
  ['', ''],
])('says in few words why there is no result', (said, reason) => {
  expect(complaint(said)).toBe(reason);
});

it.each([
  ['{"ms": [1]}\n{"ms": [1, 2]}\n', { ms: [1, 2] }],
  ['{"ms": [1]}\n{"ms": [1, 2', { ms: [1] }], // killed while it wrote
  ['{"ms', null],
  ['no JSON at all', null],
])('finds the last whole result', (printed, result) => {
  expect(resultIn(printed)).toEqual(result);
});

describe('the load of the machine', () => {
  it('is read from /proc: work of all kinds, of this process and of those it waited for', () => {
    expect(busyTicks('cpu  10 20 30 1000 50 1 2 3 9 9\ncpu0 5 10 15 500 25 0 1 1 4 4')).toBe(66);
    expect(ownTicks('17 (a (b) c) S 1 17 17 0 -1 4194304 100 200 0 0 3 4 50 60 20 0 11 0')).toBe(117);
  });

  it.each([
    ['idle', { busy: 0, own: 0 }, 0],
    ['this process alone', { busy: 300, own: 300 }, 0],
    ['another process on one core of two', { busy: 400, own: 200 }, 0.5],
    ['ticks that were counted a moment later', { busy: 198, own: 200 }, 0],
  ])('of others: %s', (_, { busy, own }, share) => {
    const [before, after] = [{ busy: 1000, own: 50, at: 5000 }, { busy: 1000 + busy, own: 50 + own, at: 7000 }]; // biome-ignore format: two readings
    expect(foreignShare(before, after, 2)).toBeCloseTo(share, 12);
  });

  it('decides which rounds count', () => {
    const of = (foreign, pace) => ({ load: { foreign, pace } });
    const found = new Map([
      ['ours', [of(0.02, 100), of(0.11, 100), { load: null }]],
      ['theirs', [of(0.1, 114), of(0, 116), of(0.5, 300)]],
    ]);
    expect([...counted(found).values()]).toEqual([
      [true, false, true],
      [true, false, false],
    ]);
  });

  it.skipIf(process.platform !== 'linux')('is added to a result', async () => {
    const { ms, load, averages } = await withLoad(async () => ({ ms: 7 }));
    expect(ms).toBe(7);
    expect(averages).toEqual([expect.any(Number), expect.any(Number)]);
    expect(load.foreign).toBeGreaterThanOrEqual(0);
    expect(load.pace).toBeGreaterThan(0);
  });
});

it('peers choose their kernels themselves', () => {
  const env = peerEnvironment({ PATH: '/bin', OPENBLAS_CORETYPE: 'Prescott', OPENBLAS_L2_SIZE: '1', LP_NATIVE_VECTOR_WIDTH: '128' }); // biome-ignore format: one environment
  expect(Object.keys(env).sort()).toEqual(['MESA_SHADER_CACHE_DIR', 'PATH']);
});

it.each([
  [{ ms: 1, blas: 'libopenblas.so, kernel Zen', reference: false }, undefined],
  [{ ms: 1, blas: 'blas/libblas.so.3', reference: true }, 'its BLAS is the slow reference one (blas/libblas.so.3); install libopenblas0-pthread'],
  [{ reason: 'ended with 1' }, 'ended with 1'],
])('%j counts, or says why not', (said, reason) => {
  expect(unlessReference(said).reason).toBe(reason);
}); // biome-ignore format: one result a line

const require = createRequire(new URL('../bench/peers/run.mjs', import.meta.url));
function onnxruntime() {
  try {
    return require('onnxruntime-node');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    console.log('Not tested: onnxruntime-node, which `npm run bench:peers` installs.');
    return null;
  }
}
const ort = onnxruntime();

describe.skipIf(!ort)('the ONNX model of a product, beside float64', () => {
  it.each([
    [1, false, false],
    [1, false, true],
    [1, true, false],
    [1, true, true],
    [3, false, false],
    [3, true, true],
  ])('batch %i, transposed %s and %s', async (batch, transA, transB) => {
    const [M, K, N] = [5, 130, 7];
    const { model, shapes } = matmulModel({ batch, M, K, N, transA, transB });
    const session = await ort.InferenceSession.create(model);
    const [a, b] = [operandValues(batch * M * K), operandValues(batch * K * N)];
    const { y } = await session.run({
      a: new ort.Tensor('float32', a, shapes.a),
      b: new ort.Tensor('float32', b, shapes.b),
    });
    const [aStep, bStep] = [transA ? [1, M] : [K, 1], transB ? [1, K] : [N, 1]];
    const expected = Array.from({ length: batch * M * N }, (_, at) => {
      const [n, m, i] = [at % N, Math.floor(at / N) % M, Math.floor(at / (M * N))];
      let sum = 0;
      for (let k = 0; k < K; k++)
        sum += a[i * M * K + m * aStep[0] + k * aStep[1]] * b[i * K * N + k * bStep[0] + n * bStep[1]];
      return sum;
    });
    expect(y.dims).toEqual(batch > 1 ? [batch, M, N] : [M, N]);
    expect(Math.max(...expected.map((value, at) => Math.abs(value - y.data[at])))).toBeLessThan(1e-5);
    await session.release();
  });
});

describe("the host's peak", () => {
  it('is unknown without a compiler, and the line says so', () => {
    const none = hostPeak('no-such-compiler');
    expect(peakLine(none)).toBe("This host's peak is unknown: there is no C compiler no-such-compiler.");
  });

  const compiler = spawnSync('cc', ['--version']).status === 0;
  it.skipIf(!compiler || !['x64', 'arm64'].includes(process.arch))(
    'is at least as high for fused multiply-adds (needs cc, on x86-64 or arm64)',
    () => {
      const { fused, apart, reason } = hostPeak();
      expect(reason).toBeUndefined();
      expect(apart).toBeGreaterThan(0);
      expect(fused).toBeGreaterThanOrEqual(0.9 * apart);
    },
    60_000,
  );
});

describe('the lines of the result', () => {
  it.each([
    [[], ''],
    [[{ reason: 'ended with 1' }], ''],
    [[{ averages: [0.31, 1.94] }, { averages: [1, 1.2] }], 'load 0.3 to 1.9'],
    [[{ averages: [0.5, 0.5] }], 'load 0.5'],
  ])('say the load of %j', (results, text) => {
    expect(loadRange(results)).toBe(text);
  });

  it('say the peak', () => {
    expect(peakLine({ fused: 193.2, apart: 96.61 })).toBe(
      "This host's peak: 193 GFLOP/s fused, 96.6 with multiply and add apart.",
    );
  });

  it('are tables in Markdown, with a dash for what was not measured', () => {
    expect(
      table(['who', 'ms'], [['a', digits(12.345)], ['bcde', digits(finiteMedian([Number.NaN]))]]), // biome-ignore format: two rows
    ).toBe('| who  |   ms |\n|------|-----:|\n| a    | 12.3 |\n| bcde |    - |');
  });
});
