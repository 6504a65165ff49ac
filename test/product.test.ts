/** Matrix products: tiles of every shape, split sums, f16, and the choice of kernel and tile. */
import { describe, expect, it } from 'vitest';
import { autocast } from '../src/autograd/autocast.js';
import { checkProduct, type Trial } from '../src/check/product.js';
import { roundToHalf } from '../src/core/half.js';
import type { AdapterInfo } from '../src/gpu/device.js';
import { tuningOf } from '../src/gpu/tuning.js';
import { type Choice, pick } from '../src/gpu/variants.js';
import { runMatmul } from '../src/ops/product.js';
import {
  chunkOf,
  type MatmulShape,
  matmulKernels,
  matrixTiles,
  plan,
  tileKernel,
} from '../src/ops/product_kernels.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();

const problemsOf = async (trial: Trial, choice?: Choice) =>
  (await checkProduct(gpuOf(), trial, [choice])).flatMap(({ problems }) => problems);

const forms: [Record<'HIGH' | 'QM' | 'QN' | 'DEPTH', number>, Trial][] = [
  [
    { HIGH: 16, QM: 2, QN: 2, DEPTH: 4 },
    { M: 133, N: 140, K: 12, transB: true, bias: true, epilogue: 'gelu' },
  ],
  [
    { HIGH: 8, QM: 2, QN: 1, DEPTH: 4 },
    { M: 136, N: 68, K: 11, transA: true, sums: true, accumulate: true },
  ],
  [
    { HIGH: 8, QM: 2, QN: 3, DEPTH: 8 },
    { batch: 2, M: 70, N: 204, K: 20, half: true },
  ],
];

describe('tiles', () => {
  it.each(forms)('%j: %j', async (tune, trial) => {
    expect(await problemsOf(trial, { kernel: tileKernel, tune })).toEqual([]);
  });

  it('sums in parts are those of a whole, bit by bit the same each time', async () => {
    const gpu = gpuOf();
    const trial = { M: 24, N: 20, K: 1000, transA: true, sums: true, accumulate: true };
    const shape = { ...trial, batch: 1, transB: false };
    const choice = { kernel: tileKernel, tune: { HIGH: 16, QM: 1, QN: 1, DEPTH: 4 } };
    expect(chunkOf(choice, gpu.info, shape)).toBeLessThan(trial.K / 4);
    expect(await problemsOf(trial, choice)).toEqual([]);
    const operand = () =>
      Tensor.from(
        gpu,
        Float32Array.from({ length: 24_000 }, (_, i) => Math.sin(i)),
      );
    const [a, b] = [operand(), operand()];
    const once = async () => {
      const c = Tensor.empty(gpu, [24, 20]);
      runMatmul(shape, { a, b, c }, choice);
      return c.toFloat32();
    };
    expect(await once()).toEqual(await once());
  });
});

const EDGES = [
  ...[1 + 2 ** -11, 1 + 3 * 2 ** -11, 1 + 2 ** -11 + 2 ** -20, 65504, 65519, -65519, 1 / 3],
  ...[2 ** -14, 2 ** -15, 3 * 2 ** -25, 2 ** -25, 2 ** -25 + 2 ** -40, -(2 ** -24), 0],
];

describe('batches of ragged matrices', () => {
  it.each<Trial>([
    { batch: 3, M: 65, N: 65, K: 64, transB: true },
    { batch: 2, M: 65, N: 64, K: 65, accumulate: true },
    { batch: 3, M: 20, N: 33, K: 17 },
    { batch: 2, M: 70, N: 20, K: 33, transA: true, half: true },
    { batch: 2, M: 130, N: 68, K: 12, bias: true, epilogue: 'gelu' },
    { M: 300, N: 301, K: 302 },
  ])('%j', async (trial) => {
    expect(await problemsOf(trial)).toEqual([]);
  });
});

describe('f16', () => {
  it('rounds in TypeScript to the nearest, ties to even, at every number there is', () => {
    const value = (bits: number) =>
      bits < 0x400 ? bits * 2 ** -24 : (1 + (bits % 0x400) / 0x400) * 2 ** (Math.floor(bits / 0x400) - 15);
    for (let bits = 0; bits < 0x7bff; bits++) {
      const [low, high] = [value(bits), value(bits + 1)];
      const middle = (low + high) / 2;
      expect(roundToHalf(low)).toBe(low);
      expect(roundToHalf(middle)).toBe(bits % 2 === 0 ? low : high);
      expect(roundToHalf(middle * (1 - 2 ** -40))).toBe(low);
      expect(roundToHalf(-middle * (1 + 2 ** -40))).toBe(-high);
    }
    expect([65519.99, 65520, -1e9, Number.NaN].map(roundToHalf)).toEqual([65504, Infinity, -Infinity, NaN]);
  });

  it.each(['matmul_forward', 'matmul_forward_texture', 'matmul_forward_plain'])(
    '%s rounds alike',
    async (name) => {
      const gpu = gpuOf();
      gpu.diagnostics.preferences.set('matmul_forward', name);
      const a = Tensor.from(
        gpu,
        Float32Array.from({ length: 64 }, (_, i) => EDGES[i % EDGES.length] as number),
      );
      const b = Tensor.from(
        gpu,
        Float32Array.from({ length: 16 }, (_, i) => Number(i % 5 === 0)),
      );
      const c = Tensor.empty(gpu, [16, 4]);
      const shape = { batch: 1, M: 16, N: 4, K: 4, transA: false, transB: false };
      autocast(() => runMatmul(shape, { a, b, c }));
      const expected = Array.from(await a.toFloat32(), roundToHalf);
      expect(Array.from(await c.toFloat32(), (x) => x + 0)).toEqual(expected.map((x) => x + 0));
      runMatmul(shape, { a, b, c });
      expect(await c.toFloat32()).toEqual(await a.toFloat32());
      expect(await problemsOf({ M: 36, N: 40, K: 44, transA: true, sums: true, half: true })).toEqual([]);
      gpu.diagnostics.preferences.clear();
    },
  );
});

describe('choice', () => {
  const plain = {
    vendor: 'nvidia',
    architecture: 'hopper',
    software: false,
    subgroupMatrix: [],
    features: new Set(['shader-f16']),
  };
  const adapter = (more: Partial<AdapterInfo> = {}): AdapterInfo => ({
    ...{ ...plain, name: 'card', driver: '', lanes: 32, subgroupSizes: [32, 32] },
    ...{ immediates: true, workgroupBytes: 49152, ...tuningOf(plain), ...more },
  });
  const units = [16, 8].map((N) => ({ componentType: 'f16', resultComponentType: 'f32', M: 16, N, K: 16 }));
  const single = { componentType: 'f32', resultComponentType: 'f32', M: 8, N: 8, K: 8 };
  const shape = (M: number, N: number, K: number, more: Partial<MatmulShape> = {}): MatmulShape => ({
    ...{ batch: 1, M, N, K, transA: false, transB: true, ...more },
  });
  const matrix = 'matmul_forward_subgroup_matrix';
  const cases: [string, Partial<AdapterInfo>, MatmulShape, string, Record<string, number>][] = [
    ['many tiles are large', {}, shape(33280, 768, 192), 'matmul_forward', { HIGH: 16, QM: 4, QN: 2 }],
    ['no column is wasted', {}, shape(33280, 192, 768), 'matmul_forward', { HIGH: 8, QM: 2, QN: 3 }],
    ['16 KiB', { workgroupBytes: 16384 }, shape(33280, 192, 768), 'matmul_forward', { HIGH: 8, QM: 2, QN: 3 }],
    ['few tiles are small', {}, shape(2080, 192, 192, { bias: true }), 'matmul_forward', { QM: 1, QN: 1, DEPTH: 16 }],
    ['a small ragged product', {}, shape(64, 10, 192, { bias: true }), 'matmul_forward_plain', {}],
    ['a ragged one with an epilogue', {}, shape(4096, 770, 192, { aux: true }), 'matmul_forward_plain', {}],
    ['matrix units, not asked', { subgroupMatrix: units }, shape(33280, 576, 192), 'matmul_forward', {}],
    ['matrix units', { subgroupMatrix: units }, shape(33280, 576, 192, { half: true }), matrix, { SN: 16, TILE_M: 128, TILE_N: 96, DEPTH: 64 }],
    ['matrix units, 32 KiB', { subgroupMatrix: units, workgroupBytes: 32768 }, shape(33280, 768, 192, { half: true }), matrix, { TILE_M: 128, TILE_N: 128, DEPTH: 32 }],
    ['subgroups of no fixed size', { subgroupMatrix: units, lanes: 0 }, shape(33280, 576, 192, { half: true }), 'matmul_forward', {}],
    ['units of float32', { subgroupMatrix: [single] }, shape(33280, 576, 192), matrix, { Part: 32, SM: 8 }],
    ['units of float32 for f16', { subgroupMatrix: [single] }, shape(33280, 576, 192, { half: true }), matrix, { Part: 32 }],
    ['results of f16 do not do', { subgroupMatrix: [{ ...units[0]!, resultComponentType: 'f16' }] }, shape(33280, 576, 192, { half: true }), 'matmul_forward', {}],
  ]; // biome-ignore format: one case a line

  it.each([
    ['one product', { batch: 1, M: 65 }, 64],
    ['65 rows', { M: 65 }, 72],
    ['20 rows', { M: 20 }, 24],
    ['130 rows', { M: 130 }, 72],
    ['no row wasted', { M: 192 }, 64],
    ['A transposed', { M: 65, transA: true }, 64],
  ])('rows of the CPU driver\'s tiles: %s', (_, more, ROWS) => {
    const cpu = adapter({ vendor: 'mesa', software: true, lanes: 8, subgroupSizes: [8, 8] });
    const product = shape(0, 64, 64, { batch: 192, ...more });
    expect(pick(matmulKernels, cpu, product)).toMatchObject({ kernel: { name: 'matmul_forward_texture' }, tune: { LANES: 8, ROWS } });
  }); // biome-ignore format: one case a line

  it.each(cases)('%s', (_, more, product, kernel, tune) => {
    const choice = pick(matmulKernels, adapter(more), product);
    expect(choice.kernel.name).toBe(kernel);
    expect(choice.tune).toMatchObject(tune);
  });

  // Microseconds on one NVIDIA H100, operands and results of f16; its two workgroups a multiprocessor are 264.
  it.each<[number, number, number, Record<string, number>]>([
    [12608, 3072, 768, { '128x128x64': 293, '128x256x32': 363, '128x128x32': 519 }],
    [12608, 768, 768, { '128x128x64': 84, '128x96x64': 84, '128x256x32': 117, '128x192x32': 116, '128x128x32': 151 }],
    [12608, 768, 3072, { '128x128x64': 314, '128x96x64': 270, '128x256x32': 399, '128x192x32': 391, '128x128x32': 511 }],
    [33280, 768, 192, { '128x128x64': 91, '128x96x64': 96, '128x256x32': 79, '128x192x32': 99, '128x128x32': 124 }],
    [33280, 192, 576, { '128x128x64': 67, '128x96x64': 51, '128x256x32': 63, '128x192x32': 62, '128x128x32': 95 }],
  ])('times of tiles are as measured: (%i, %i, %i)', (M, N, K, measured) => {
    const card = adapter({ subgroupMatrix: units, knobs: { ...adapter().knobs, productGroups: 264 } });
    const product = shape(M, N, K, { half: true, bias: true });
    const predicted = Object.fromEntries(
      matrixTiles(units[0]!, 32).map((tile) => {
        return [`${tile.rows}x${tile.columns}x${tile.depth}`, 5.28e-4 * plan(card, product, tile).time];
      }),
    );
    for (const [tile, time] of Object.entries(measured)) {
      expect(predicted[tile], tile).toBeGreaterThan(0.8 * time);
      expect(predicted[tile], tile).toBeLessThan(1.25 * time);
    }
    const { TILE_M, TILE_N, DEPTH } = pick(matmulKernels, card, product).tune;
    expect(measured[`${TILE_M}x${TILE_N}x${DEPTH}`]).toBeLessThan(1.1 * Math.min(...Object.values(measured)));
  }); // biome-ignore format: one case a line

  it("a weight's gradient is summed in parts", () => {
    const product = shape(192, 192, 33280, { transA: true, transB: false, sums: true });
    const choice = pick(matmulKernels, adapter(), product);
    const chunk = chunkOf(choice, adapter(), product);
    expect(Math.ceil(33280 / chunk)).toBe(32);
    expect(chunk % (choice.tune.DEPTH as number)).toBe(0);
    expect(chunkOf(choice, adapter(), { ...product, bias: true })).toBe(33280);
    expect(chunkOf(choice, adapter(), shape(33280, 576, 192))).toBe(192);
  });
});
