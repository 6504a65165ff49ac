/** One device for a test file. */
import { afterAll, beforeAll } from 'vitest';
import type { OpenOptions } from '../src/gpu/device.js';
import { Gpu } from '../src/gpu/gpu.js';

export { normals, toFloat64, valuesFor, worst } from '../src/check/values.js';

export const openGpu = (options: OpenOptions = {}): Promise<Gpu> =>
  Gpu.open({ adapter: process.env.PATCHLIGHT_ADAPTER, ...options });

/** Opens an adapter before the tests of the file and closes it after them. */
export function withGpu(options: OpenOptions = {}): () => Gpu {
  let gpu: Gpu | undefined;
  beforeAll(async () => {
    gpu = await openGpu(options);
  });
  afterAll(() => gpu?.close());
  return () => {
    if (!gpu) throw new Error('The device is open only while tests run.');
    return gpu;
  };
}
