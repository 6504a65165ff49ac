/** Attention's kernels for matrix units on adapters without any (emulated_matrices.ts); the plain ones in f32 and f16. */
import { describe, expect, it, vi } from 'vitest';
import { autocast } from '../src/autograd/autocast.js';
import { Tape } from '../src/autograd/tape.js';
import { type AttentionTrial, attentionSizes, checkAttention } from '../src/check/attention.js';
import { fromHalfBits, toHalfBits } from '../src/core/half.js';
import type { SubgroupMatrixConfig } from '../src/gpu/device.js';
import { pick } from '../src/gpu/variants.js';
import { attention } from '../src/ops/attention.js';
import { everyChoice, forwards, keyBackwards, queryBackwards } from '../src/ops/attention_kernels.js';
import { Tensor } from '../src/tensor/tensor.js';
import { units } from './emulated_matrices.js';
import { withGpu } from './gpu.js';

vi.mock('../kernels/attention/attention_forward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices(
    'attention/attention_forward_subgroup_matrix',
  ),
}));
vi.mock('../kernels/attention/attention_query_backward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices(
    'attention/attention_query_backward_subgroup_matrix',
  ),
}));
vi.mock('../kernels/attention/attention_key_backward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices(
    'attention/attention_key_backward_subgroup_matrix',
  ),
}));

const gpuOf = withGpu();
const families = [forwards, queryBackwards, keyBackwards];
const MATRICES = families.map(({ name }) => `${name}_subgroup_matrix`);

const square = units('f16', 16, 16, 16);

// Queries and keys in a block, and keys in a block of the pass over keys.
const trials: [string, SubgroupMatrixConfig, [number, number, number], AttentionTrial][] = [
  ['less than a block', square, [16, 16, 16], { B: 1, N: 7, H: 2, head: 4, half: true }],
  ['wide matrices, ragged blocks, dropout, f16', units('f16', 8, 16, 16), [32, 32, 32], { B: 2, N: 65, H: 2, head: 12, rate: 0.3, half: true, f16: true }],
  ['tall matrices, large blocks, dropout', units('f16', 16, 8, 16), [16, 64, 32], { B: 1, N: 70, H: 1, head: 48, rate: 0.5, half: true }],
  ['flat matrices, many invocations, f16', units('f16', 16, 16, 8), [64, 16, 16], { B: 1, N: 97, H: 1, head: 20, half: true, f16: true }],
  ['float32', units('f32', 8, 8, 8), [16, 32, 16], { B: 1, N: 33, H: 3, head: 16, rate: 0.2 }],
]; // biome-ignore format: one trial a line

describe('emulated matrix units', () => {
  it.each(trials)('%s', async (_, only, [queries, ...keys], trial) => {
    const gpu = gpuOf();
    const info = { ...gpu.info, subgroupMatrix: [only] };
    const found = await checkAttention(gpu, trial, (family) =>
      everyChoice(family, info, attentionSizes(trial)).filter(
        ({ tune }) => tune.QUERIES === queries && tune.KEYS === keys[Number(family === keyBackwards)],
      ),
    );
    for (const { variant, problems } of found) expect(problems, variant).toEqual([]);
    expect(found.map(({ variant }) => variant.split(' ')[0])).toEqual(MATRICES);
  });

  // All of q and v, all of k, all of the output's gradient. N = 7 is not a whole number of blocks.
  it.each<[string, [number, number, number], boolean]>([
    ['a gradient that f16 holds', [1, 1, 1e3], true],
    ['a gradient beyond f16', [1, 1, 1e5], false],
    ['scores whose exponentials overflow', [20, 20, 1], true],
    ['scores whose exponentials vanish', [20, -20, 1], true],
  ])('are what the op takes in mixed precision: %s', async (_, [q, k, size], finite) => {
    const gpu = gpuOf();
    Object.assign(gpu.info, { subgroupMatrix: [square] });
    const values = Float32Array.from({ length: 7 * 24 }, (_, i) => (Math.floor(i / 8) % 3 === 1 ? k : q));
    const qkv = Tensor.from(gpu, values, [1, 7, 24]);
    qkv.requiresGrad = true;
    qkv.grad = Tensor.zeros(gpu, [1, 7, 24]);
    const gradient = Tensor.from(gpu, new Float32Array(56).fill(size), [1, 7, 8]);
    autocast(() => {
      const tape = new Tape();
      tape.backward(
        tape.run(() => attention(qkv, 2)),
        { gradient },
      );
    });
    expect(families.map(({ name }) => gpu.diagnostics.picked.get(name)?.kernel)).toEqual(MATRICES);
    const dqkv = await qkv.grad.toFloat32();
    const found = [0, 1, 2].map((part) =>
      dqkv.filter((_, i) => Math.floor(i / 8) % 3 === part).every(Number.isFinite),
    );
    expect(found).toEqual([finite, finite, finite]);
  });
});

const plain: [string, AttentionTrial][] = [
  ['f32', { B: 1, N: 9, H: 2, head: 5, rate: 0.3 }],
  ['f16', { B: 2, N: 9, H: 3, head: 5, rate: 0.3, half: true, f16: true }],
];

it.each(plain)('by every kernel that the adapter can run: %s', async (_, trial) => {
  const gpu = gpuOf();
  Object.assign(gpu.info, { subgroupMatrix: [] });
  const found = await checkAttention(gpu, trial);
  for (const { variant, problems } of found) expect(problems, variant).toEqual([]);
  expect(found.map(({ variant }) => variant)).toEqual(
    expect.arrayContaining(families.map(({ name }) => name)),
  );
});

it.each<[string, AttentionTrial]>([
  ['f32', { B: 1, N: 9, H: 2, head: 20, rate: 0.3 }],
  ['f16', { B: 2, N: 7, H: 1, head: 16, half: true, f16: true }],
])('by shared rows, as many keys at a time as on a GPU: %s', async (_, trial) => {
  const gpu = gpuOf();
  const found = await checkAttention(gpu, trial, (family) =>
    everyChoice(family, gpu.info, attentionSizes(trial))
      .filter(({ kernel }) => kernel.name.endsWith('_subgroup'))
      .map(({ kernel, tune }) => ({ kernel, tune: { ...tune, AT_ONCE: 4 } })),
  );
  for (const { variant, problems } of found) expect(problems, variant).toEqual([]);
  expect(found.map(({ variant }) => variant.split(' ')[0])).toEqual(
    families.map(({ name }) => `${name}_subgroup`),
  );
});

describe('the choice', () => {
  const sizes = { B: 64, N: 65, H: 3, head: 64, bits: 32, half: true };
  const gpu16 = { subgroupMatrix: [square], workgroupBytes: 16384, lanes: 32, software: false, features: new Set(['shader-f16']) };
  const chosen = (adapter: object, other: object) =>
    families.map((family) => pick(family, { ...gpuOf().info, ...gpu16, ...adapter }, { ...sizes, ...other }));

  it.each<[string, object, object]>([
    ['16 KiB of workgroup memory', {}, {}],
    ['f16 tensors', {}, { bits: 16 }],
    ['a head that does not fill its rows', {}, { head: 20 }],
    ['a large head and memory for it', { workgroupBytes: 49152 }, { head: 128 }],
    ['float32 on units of float32', { subgroupMatrix: [units('f32', 8, 8, 8)], workgroupBytes: 32768 }, { half: false }],
    ['wide subgroups', { lanes: 64, workgroupBytes: 32768 }, {}],
  ])('matrices: %s', (_, adapter, other) => {
    const choices = chosen(adapter, other);
    expect(choices.map(({ kernel }) => kernel.name)).toEqual(MATRICES);
    for (const { tune } of choices) {
      const { WG, LANES, QUERIES, SM } = tune as Record<string, number> & typeof tune;
      expect((WG! / LANES!) % (QUERIES! / SM!)).toBe(0);
    }
  });

  it.each<[string, object, object]>([
    ['float32 on units of f16', {}, { half: false }],
    ['subgroups of no fixed size', { lanes: 0 }, {}],
    ['no units with f32 results', { subgroupMatrix: [{ ...square, resultComponentType: 'f16' }] }, {}],
    ['a head of no whole quads', {}, { head: 6 }],
    ['too large a head', { workgroupBytes: 1 << 20 }, { head: 132 }],
    ['too little workgroup memory', { workgroupBytes: 4096 }, {}],
  ])('plain kernels: %s', (_, adapter, other) => {
    expect(chosen(adapter, other).map(({ kernel }) => kernel.name)).toEqual(families.map(({ name }) => name));
  });

  it.each<[string, object, string]>([
    ['a GPU without matrix units', {}, '_subgroup'],
    ['subgroups of no fixed size', { lanes: 0, subgroupSizes: [8, 64] }, '_subgroup'],
    ['too few lanes', { subgroupSizes: [2, 64] }, ''],
    ['a CPU', { software: true }, ''],
  ])('shared rows: %s', (_, adapter, suffix) => {
    const features = new Set(['shader-f16', 'subgroups']);
    const choices = chosen({ features, subgroupMatrix: [], subgroupSizes: [32, 32], ...adapter }, {});
    expect(choices.map(({ kernel }) => kernel.name)).toEqual(families.map(({ name }) => name + suffix));
  });

  // Microseconds of a pass by some blocks, QUERIES x KEYS, on one NVIDIA H100: f16, heads of 64, (512, 65, 3) and (64, 197, 12).
  it.each<[number, Record<string, number>[]]>([
    [65, [
      { '64x64': 565, '32x128': 544, '32x80': 431, '32x48': 345, '32x32': 369, '16x80': 399, '16x48': 395, '16x32': 403 },
      { '32x48': 768, '32x32': 745, '16x96': 789, '16x80': 787, '16x64': 921, '16x48': 993, '16x32': 630 },
      { '64x16': 1132, '32x32': 934, '32x16': 692, '16x64': 990, '16x32': 1146, '16x16': 641 },
    ]],
    [197, [
      { '64x64': 1029, '32x80': 311, '32x48': 221, '32x32': 231, '16x80': 261, '16x64': 263, '16x48': 237, '16x32': 260 },
      { '32x48': 440, '32x32': 431, '16x96': 526, '16x80': 520, '16x64': 499, '16x48': 630, '16x32': 402 },
      { '64x16': 619, '32x32': 558, '32x16': 457, '16x64': 554, '16x32': 814, '16x16': 494 },
    ]],
  ])('takes blocks that are nearly the fastest at %i tokens', (N, measured) => {
    chosen({ workgroupBytes: 49152 }, { N, bits: 16 }).forEach(({ tune }, pass) => {
      const times = measured[pass] as Record<string, number>;
      expect(times[`${tune.QUERIES}x${tune.KEYS}`], JSON.stringify(tune)).toBeLessThan(1.2 * Math.min(...Object.values(times)));
    });
  });
}); // biome-ignore format: one case a line

it('16 bits stand for every number of f16', () => {
  for (let bits = 0; bits <= 0x7c00; bits++)
    for (const word of [bits, bits | 0x8000]) expect(toHalfBits(fromHalfBits(word))).toBe(word);
});
