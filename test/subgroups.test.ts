/** The subgroup size that kernels are written for, on adapters of one size and of several. */
import { expect, it } from 'vitest';
import { lanesOf } from '../src/gpu/device.js';
import { SUBGROUP_SIZE } from '../src/gpu/pipeline.js';
import { measuredLanes } from '../src/gpu/subgroup_probe.js';
import { layerNorm, sum } from '../src/ops/index.js';
import { keep } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, openGpu, withGpu } from './gpu.js';

const gpuOf = withGpu();

it.each<[string, string, [number, number], string[], number]>([
  ['one size', 'nvidia', [32, 32], ['subgroups'], 32],
  ['no subgroups', 'nvidia', [32, 32], [], 0],
  ['AMD', 'amd', [32, 64], ['subgroups', SUBGROUP_SIZE], 32],
  ['AMD, older cards', 'amd', [64, 64], ['subgroups', SUBGROUP_SIZE], 64],
  ['Intel', 'intel', [8, 32], ['subgroups', SUBGROUP_SIZE], 16],
  ['Intel, whose driver chooses', 'intel', [8, 32], ['subgroups'], 0],
  ['few lanes', 'arm', [4, 16], ['subgroups', SUBGROUP_SIZE], 16],
])('lanes: %s', async (_, vendor, [subgroupMinSize, subgroupMaxSize], features, lanes) => {
  const info = { vendor, subgroupMinSize, subgroupMaxSize } as GPUAdapterInfo;
  expect(await lanesOf({ features: new Set(features) } as unknown as GPUDevice, info)).toBe(lanes);
});

it('an Apple card is measured', async () => {
  const { device, info } = gpuOf();
  const features = new Set(['subgroups']);
  const without = new Proxy(device, {
    get: (target, name) => {
      if (name === 'features') return features;
      const value = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const apple = { vendor: 'apple', subgroupMinSize: 4, subgroupMaxSize: 64 } as GPUAdapterInfo;
  expect(await lanesOf(without, apple)).toBe(info.lanes);
  expect(await measuredLanes(device)).toBe(info.lanes);
});

it('kernels that ask for their subgroup size give the bits of those that cannot', async () => {
  const results = [];
  for (const without of [[], [SUBGROUP_SIZE]]) {
    const gpu = await openGpu({ without });
    expect(gpu.info.features.has(SUBGROUP_SIZE)).toBe(
      without.length === 0 && gpuOf().info.features.has(SUBGROUP_SIZE),
    );
    const tensor = (shape: number[], seed: number) => keep(Tensor.from(gpu, normals(shape, seed), shape));
    const y = layerNorm(tensor([33, 192], 1), tensor([192], 2), tensor([192], 3));
    results.push([await y.toFloat32(), await sum(y).toFloat32()]);
    gpu.close();
  }
  expect(results[0]).toEqual(results[1]);
});
