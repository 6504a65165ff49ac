/** The command line of `npm run bench:peers`, and its report of a trainer without a result. Nothing is installed or timed. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { complaint, peerEnvironment, resultIn, unlessReference } from '../bench/peers/contestants.mjs';
import { busyTicks, counted, foreignShare, loadLine, ownTicks, withLoad } from '../bench/peers/load.mjs';
import { matmulModel, shapesOf } from '../bench/peers/onnx_matmul.mjs';
import { readOptions } from '../bench/peers/options.mjs';
import { hostPeak, peakLine } from '../bench/peers/peak.mjs';

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
    const { ms, load } = await withLoad(async () => ({ ms: 7 }));
    expect(ms).toBe(7);
    expect(load.foreign).toBeGreaterThanOrEqual(0);
    expect(load.pace).toBeGreaterThan(0);
    expect(load.averages).toHaveLength(2);
  });

  it('is said as a range', () => {
    const of = (...averages) => ({ load: { averages } });
    expect(loadLine(new Map([['ours', [of(0.31, 1.9), of(2, 0.8)]], ['theirs', [of(1, 1), { load: null }]]]))).toBe(
      '- Load average before and after each round: 0.3 to 2.0.',
    ); // biome-ignore format: one map
    expect(loadLine(new Map([['ours', [{ load: null }]]]))).toBe(
      '- This system does not say how busy it was.',
    );
  });
});

describe("the host's peak", () => {
  it.each([
    [{ fused: 190.04, apart: 95.6 }, '190 GFLOP/s fused, 96 with multiply and add apart'],
    [hostPeak('no-such-compiler'), 'is not known: no C compiler (ENOENT)'],
  ])('%j is a line', (peak, line) => {
    expect(peakLine(peak)).toContain(line);
  });

  it.skipIf(spawnSync('cc', ['--version']).error)('is a program that compiles without a warning', () => {
    const { status, stderr } = spawnSync('cc', ['-Wall', '-Wextra', '-fsyntax-only', 'bench/peers/peak.c'], {
      encoding: 'utf8',
    });
    expect([status, stderr]).toEqual([0, '']);
  });
});

describe("onnxruntime's product", () => {
  /** Fields of a protobuf message: [number, value], where messages and strings stay bytes. */
  function fields(bytes) {
    const found = [];
    let at = 0;
    const varint = () => {
      let value = 0;
      for (let shift = 1; ; shift *= 128) {
        const byte = bytes[at++];
        value += (byte % 128) * shift;
        if (byte < 128) return value;
      }
    };
    while (at < bytes.length) {
      const key = varint();
      const value = varint();
      if (key % 8 === 2) at += value;
      found.push([key >> 3, key % 8 === 2 ? bytes.slice(at - value, at) : value]);
    }
    return found;
  }
  const all = (bytes, number) => fields(bytes).flatMap(([field, value]) => (field === number ? [value] : []));
  const text = (bytes) => Buffer.from(bytes).toString();
  const dims = (info) => all(all(all(all(info, 2)[0], 1)[0], 2)[0], 1).map((dim) => all(dim, 1)[0]);

  it.each([
    [{ batch: 1, M: 300, K: 7, N: 5, transA: true, transB: false }, ['Gemm'], [[7, 300], [7, 5], [300, 5]]],
    [{ batch: 3, M: 4, K: 5, N: 6, transA: false, transB: true }, ['Transpose', 'MatMul'], [[3, 4, 5], [3, 6, 5], [3, 4, 6]]],
  ])('%j', (product, types, shapes) => {
    const [graph] = all(matmulModel(product), 7);
    expect(all(graph, 1).map((node) => text(all(node, 4)[0]))).toEqual(types);
    expect([...all(graph, 11), ...all(graph, 12)].map(dims)).toEqual(shapes);
    expect(Object.values(shapesOf(product))).toEqual(shapes);
  }); // biome-ignore format: one product a line
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
