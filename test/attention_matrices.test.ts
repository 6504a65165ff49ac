/** Attention's kernels for matrix units on adapters without any (emulated_matrices.ts), and the plain ones, in f32 and f16. */
import { describe, expect, it, vi } from 'vitest';
import { type AttentionTrial, checkAttention } from '../src/check/attention.js';
import type { SubgroupMatrixConfig } from '../src/gpu/device.js';
import { everyChoice } from '../src/ops/attention_kernels.js';
import { withGpu } from './gpu.js';

vi.mock('../kernels/attention_forward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices('attention_forward_subgroup_matrix'),
}));
vi.mock('../kernels/attention_query_backward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices('attention_query_backward_subgroup_matrix'),
}));
vi.mock('../kernels/attention_key_backward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices('attention_key_backward_subgroup_matrix'),
}));

const gpuOf = withGpu();

const config = (componentType: string, M: number, N: number, K: number): SubgroupMatrixConfig => ({
  componentType,
  resultComponentType: 'f32',
  M,
  N,
  K,
});

const trials: [string, SubgroupMatrixConfig, [number, number], AttentionTrial][] = [
  ['one block', config('f16', 16, 16, 16), [16, 32], { B: 1, N: 7, H: 2, head: 16, half: true }],
];

describe('emulated matrix units', () => {
  it.each(trials)('%s', async (_, only, [queries, keys], trial) => {
    const gpu = gpuOf();
    Object.assign(gpu.info, { subgroupMatrix: [only], workgroupBytes: 32768 });
    const found = await checkAttention(gpu, trial, (family) =>
      everyChoice(family, gpu.info, { bits: 32, half: false, ...trial }).filter(
        ({ tune }) => (tune.QUERIES === queries && tune.KEYS === keys) || !tune.QUERIES,
      ),
    );
    console.log(found);
    expect(found.flatMap(({ problems }) => problems)).toEqual([]);
  });
});
