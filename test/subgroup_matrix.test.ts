/**
 * Runs the kernel for matrix units on adapters without them: the matrix built-ins in its text are replaced by plain WGSL
 * with whole matrices in every lane. Tiles, strides, f16, epilogues and split sums are the kernel's own.
 */
import { describe, expect, it, vi } from 'vitest';
import { checkProduct, type Trial } from '../src/check/product.js';
import type { SubgroupMatrixConfig } from '../src/gpu/device.js';
import { units } from './emulated_matrices.js';
import { withGpu } from './gpu.js';

vi.mock('../kernels/matmul/matmul_forward_subgroup_matrix.wgsl', async () => ({
  default: (await import('./emulated_matrices.js')).emulatedMatrices('matmul/matmul_forward_subgroup_matrix'),
}));

const gpuOf = withGpu();

// With 16 KiB of workgroup memory, slices have 16 k.
const trials: [string, SubgroupMatrixConfig, Trial][] = [
  ['NN', units('f16', 16, 16, 16), { M: 72, N: 68, K: 40, half: true }],
  ['NT, bias, gelu', units('f16', 8, 16, 16), { M: 65, N: 132, K: 36, transB: true, bias: true, epilogue: 'gelu', half: true }],
  ['TN, sums, in parts', units('f16', 16, 8, 16), { M: 20, N: 12, K: 600, transA: true, sums: true, accumulate: true, half: true }],
  ['TT, residual, batched', units('f16', 16, 16, 8), { batch: 2, M: 8, N: 64, K: 12, transA: true, transB: true, epilogue: 'residual', half: true }],
  ['NN, gradient of gelu', units('f16', 16, 16, 16), { M: 33, N: 8, K: 34, epilogue: 'gelu_gradient', half: true }],
  ['NT of f16, at copies of whole units', units('f16', 16, 16, 16), { M: 65, N: 132, K: 36, transB: true, bias: true, epilogue: 'gelu', half: true, narrow: true }],
  ['TN of f16, sums', units('f16', 16, 8, 16), { M: 72, N: 68, K: 130, transA: true, sums: true, accumulate: true, half: true, narrow: true }],
  ['at copies of whole quads', units('f16', 16, 16, 16), { M: 65, N: 66, K: 67, half: true }],
  ['float32', units('f32', 8, 8, 8), { M: 65, N: 68, K: 36, transB: true, bias: true }],
]; // biome-ignore format: one trial a line

describe('emulated matrix units', () => {
  it.each(trials)('%s', async (_, only, trial) => {
    const gpu = gpuOf();
    Object.assign(gpu.info, { subgroupMatrix: [only], workgroupBytes: 16384 });
    gpu.diagnostics.preferences.set('matmul_forward', 'matmul_forward_subgroup_matrix');
    const [{ variant, problems } = { variant: '', problems: [''] }] = await checkProduct(gpu, trial);
    expect(problems).toEqual([]);
    expect(variant).toBe('matmul_forward_subgroup_matrix');
  });
});
