/** Long sums, which have one more stage on a GPU. */
import { expect, it } from 'vitest';
import { Gpu } from '../src/gpu/gpu.js';
import { sum } from '../src/ops/index.js';
import { Tensor } from '../src/tensor/tensor.js';

it.each([true, false])('a long sum, on a CPU: %s', async (software) => {
  const gpu = await Gpu.open();
  Object.assign(gpu.info, { software });
  const values = Float32Array.from({ length: 4 * 65536 + 7 }, (_, i) => Math.sin(i) + 0.01);
  const [found] = await sum(Tensor.from(gpu, values), 2).toFloat32();
  const exact = 2 * values.reduce((total, value) => total + value, 0);
  expect(Math.abs((found as number) - exact) / exact).toBeLessThan(1e-5);
  gpu.close();
});
