/** Sizes beyond the adapter's limits are refused before the device is called; an error of the device ends the step. */
// Alone: a step must end within two seconds.
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { KernelError, LimitError } from '../../src/core/errors.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { defineKernel } from '../../src/gpu/pipeline.js';
import { TexturePool } from '../../src/gpu/textures.js';
import { Trainer } from '../../src/runs/trainer.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { withGpu } from '../gpu.js';
import { record, scratch } from './common.js';
import { steps, trainerInput } from './run.js';

const folder = scratch('limits');
const section = 'Limits and validation';
const gpuOf = withGpu();

/** A kernel with a given number of buffers and parameters. */
function kernel(name: string, buffers: number, parameters: number) {
  const lines = (n: number, line: (i: number) => string) =>
    Array.from({ length: n }, (_, i) => line(i)).join('\n');
  return defineKernel(
    name,
    `// ${name}: nothing
requires immediate_address_space;
struct Params { ${lines(parameters, (i) => `p${i}: u32,`)} }
${lines(buffers, (i) => `@group(0) @binding(${i}) var<storage, read_write> x${i}: array<u32>;`)}
var<immediate> p: Params;
@compute @workgroup_size(1) fn main() { ${lines(buffers, (i) => `x${i}[0] = p.p0;`)} }`,
  );
}

const operands = (gpu: Gpu, n: number) =>
  Object.fromEntries(Array.from({ length: n }, (_, i) => [`x${i}`, Tensor.empty(gpu, [4], 'u32')]));
const params = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${i}`, i]));

const limits: [string, RegExp, (gpu: Gpu) => void][] = [
  [
    'workgroups along an axis',
    /^\[one_forward\] dispatch of 1 x 65536 x 1 workgroups exceeds 65535\.$/,
    (gpu) => gpu.run(kernel('one_forward', 1, 1), operands(gpu, 1), params(1), [1, 65536]),
  ],
  [
    'bytes of a binding',
    /^\[one_forward\] binds \d+ bytes at once; this adapter allows \d+\. A smaller batch size needs less\.$/,
    (gpu) => {
      const bytes = gpu.device.limits.maxStorageBufferBindingSize + 16;
      const { buffer } = Tensor.empty(gpu, [4]);
      const x0 = { buffer: { ...buffer, bytes }, offset: 0, bytes };
      gpu.run(kernel('one_forward', 1, 1), { x0 }, params(1), 1);
    },
  ],
  [
    'buffers of a kernel',
    /^\[many_forward\] binds \d+ buffers; this adapter allows \d+\.$/,
    (gpu) => {
      const n = gpu.device.limits.maxStorageBuffersPerShaderStage + 1;
      gpu.run(kernel('many_forward', n, 1), operands(gpu, n), params(1), 1);
    },
  ],
  [
    'rows of a texture',
    /^\[staging texture\] wanted a texture of 1024 x \d+; this adapter allows (\d+) x \1\. A smaller batch size needs less\.$/,
    (gpu) => {
      const texels = 2 * 1024 * gpu.device.limits.maxTextureDimension2D;
      new TexturePool(gpu.memory).acquire({ kind: 'texture', texels });
    },
  ],
];

describe('more than the adapter allows', () => {
  it.each(limits)('%s', async (what, says, exceed) => {
    const gpu = gpuOf();
    expect(() => exceed(gpu)).toThrow(LimitError);
    expect(() => exceed(gpu)).toThrow(says);
    await gpu.finish(); // the device has reported no error
    record({
      section,
      provoked: `one more than allowed: ${what}`,
      times: 1,
      held: 'LimitError before the device is asked',
    });
  });

  it('bytes of parameters', async ({ skip }) => {
    const gpu = gpuOf();
    const { maxImmediateSize } = gpu.device.limits as { maxImmediateSize?: number };
    if (!gpu.info.immediates || maxImmediateSize === undefined) return skip('this adapter has no immediates');
    const n = maxImmediateSize / 4 + 1;
    const exceed = () => gpu.run(kernel('long_forward', 1, n), operands(gpu, 1), params(n), 1);
    expect(exceed).toThrow(LimitError);
    expect(exceed).toThrow(
      `[long_forward] has ${4 * n} bytes of parameters; this adapter allows ${maxImmediateSize}.`,
    );
    await gpu.finish();
  });
});

describe('what the device refuses', () => {
  const wrongs: [string, (device: GPUDevice) => void][] = [
    ['a buffer without a usage', (device) => void device.createBuffer({ size: 16, usage: 0 })],
    [
      'a submission with a destroyed buffer',
      (device) => {
        const [from, to] = [0, 1].map(() => device.createBuffer({ size: 16, usage: 0x0c })) as [
          GPUBuffer,
          GPUBuffer,
        ];
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(from, 0, to, 0, 16);
        from.destroy();
        device.queue.submit([encoder.finish()]);
      },
    ],
    [
      'a copy beyond the end',
      (device) => {
        const [from, to] = [0, 1].map(() => device.createBuffer({ size: 16, usage: 0x0c })) as [
          GPUBuffer,
          GPUBuffer,
        ];
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(from, 0, to, 8, 16);
        encoder.finish();
      },
    ],
  ];

  it.each(wrongs)('%s ends the step', async (what, wrong) => {
    const gpu = await Gpu.open({ adapter: process.env.PATCHLIGHT_ADAPTER });
    onTestFinished(() => gpu.close());
    const path = join(folder, what.replaceAll(' ', '-'));
    let at = 0;
    const onStep = (step: number) => {
      if (step !== 4) return;
      wrong(gpu.device);
      at = performance.now();
    };
    const trainer = await Trainer.prepare(trainerInput(gpu, path, { onStep }));
    const error = await trainer.run().then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(KernelError);
    expect(performance.now() - at).toBeLessThan(2000);
    expect(steps(path).map(({ step }) => step)).toEqual([1, 2, 3]);
    record({
      section,
      provoked: `in the fourth step, ${what}`,
      times: 1,
      held: 'KernelError within 2 s; three steps are logged',
    });
  });
});
