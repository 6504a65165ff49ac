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
  ['no token to itself, f16', units('f16', 16, 8, 16), [16, 64, 32], { B: 1, N: 70, H: 1, head: 20, half: true, f16: true, masked: true }],
  ['no token to itself, float32', units('f32', 8, 8, 8), [16, 32, 16], { B: 1, N: 33, H: 2, head: 16, rate: 0.2, masked: true }],
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
    expect([...new Set(found.map(({ variant }) => variant.split(' ')[0]))]).toEqual(MATRICES);
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
  ['f16, no token to itself', { B: 2, N: 9, H: 3, head: 5, half: true, f16: true, masked: true }],
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
  ['f32, no token to itself', { B: 1, N: 9, H: 2, head: 20, rate: 0.3, masked: true }],
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

  // Microseconds of a pass by some blocks, QUERIES x KEYS x WG, on one NVIDIA H100: f16, heads of 64, (512, 65, 3) and (64, 197, 12).
  it.each<[number, Record<string, number>[]]>([
    [65, [
      { '32x48x256': 88, '32x48x128': 93, '16x48x128': 93, '16x80x128': 95, '32x32x256': 98, '32x32x128': 100, '16x32x128': 104, '32x80x256': 109, '16x16x128': 114, '32x80x128': 118, '16x64x128': 121, '64x48x256': 125, '64x64x256': 129, '32x16x128': 134, '32x16x256': 137, '64x32x256': 139, '32x64x256': 143, '32x64x128': 160, '64x16x256': 187 },
      { '32x16x256': 148, '32x16x128': 150, '16x16x128': 157, '16x32x128': 165, '32x48x256': 171, '32x48x128': 196, '32x32x256': 197, '32x32x128': 198, '64x16x256': 200, '16x80x128': 206, '16x64x128': 242, '16x48x128': 259 },
      { '16x16x128': 171, '32x16x128': 177, '32x16x256': 179, '32x32x256': 216, '32x32x128': 235, '16x64x128': 249, '64x16x256': 272, '16x32x128': 302 },
    ]],
    [197, [
      { '32x48x256': 209, '32x48x128': 222, '32x32x256': 227, '64x64x256': 231, '32x32x128': 232, '16x48x128': 241, '64x48x256': 260, '16x32x128': 264, '16x80x128': 266, '16x64x128': 267, '32x80x256': 276, '64x32x256': 282, '32x64x256': 290, '32x80x128': 305, '16x16x128': 330, '32x64x128': 332, '32x16x128': 355, '32x16x256': 364, '64x16x256': 434 },
      { '32x16x128': 376, '32x16x256': 378, '32x48x256': 391, '16x32x128': 406, '32x32x128': 436, '16x16x128': 439, '64x16x256': 440, '32x48x128': 444, '32x32x256': 449, '16x64x128': 504, '16x80x128': 525, '16x48x128': 635 },
      { '32x16x128': 461, '32x16x256': 471, '16x16x128': 500, '32x32x256': 523, '16x64x128': 559, '32x32x128': 563, '64x16x256': 624, '16x32x128': 819 },
    ]],
  ])('takes blocks that are nearly the fastest at %i tokens', (N, measured) => {
    chosen({ workgroupBytes: 49152 }, { N, bits: 16 }).forEach(({ tune }, pass) => {
      const times = measured[pass] as Record<string, number>;
      expect(times[`${tune.QUERIES}x${tune.KEYS}x${tune.WG}`], JSON.stringify(tune)).toBeLessThan(1.15 * Math.min(...Object.values(times)));
    });
  });
}); // biome-ignore format: one case a line

it('16 bits stand for every number of f16', () => {
  for (let bits = 0; bits <= 0x7c00; bits++)
    for (const word of [bits, bits | 0x8000]) expect(toHalfBits(fromHalfBits(word))).toBe(word);
});
