/** One device for a test file. */
import { afterAll, afterEach, beforeAll } from 'vitest';
import { CheckDevice } from '../src/check/device.js';
import type { OpenOptions } from '../src/gpu/device.js';
import { Gpu } from '../src/gpu/gpu.js';

export { normals, toFloat64, valuesFor, worst } from '../src/check/values.js';

const chosen = (options: OpenOptions): OpenOptions => ({
  adapter: process.env.PATCHLIGHT_ADAPTER,
  ...options,
});

export const openGpu = (options: OpenOptions = {}): Promise<Gpu> => Gpu.open(chosen(options));

/** Dawn's backend that validates and runs nothing. */
export async function nullBackend(): Promise<GPU> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  return create([
    'backend=null',
    'enable-dawn-features=allow_unsafe_apis,disable_robustness,use_vulkan_memory_model',
  ]);
}

/**
 * Opens a device before the tests of the file and closes it after them. An error of the device fails the test that caused
 * it, and the next test gets a new device.
 */
export function withGpu(options: OpenOptions = {}): () => Gpu {
  let device: CheckDevice | undefined;
  beforeAll(async () => {
    device = await CheckDevice.open(chosen(options));
  });
  afterEach(() => device?.settle());
  afterAll(() => device?.close());
  return () => {
    if (!device) throw new Error('The device is open only while tests run.');
    return device.gpu;
  };
}
