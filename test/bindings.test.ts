/** Bindings that a kernel declares under a condition: where they are bound, what is refused, and which lines errors name. */
import { beforeAll, describe, expect, it } from 'vitest';
import { linkFile } from '../scripts/wgsl.mjs';
import { KernelError } from '../src/core/errors.js';
import { compileAll } from '../src/gpu/compile_ahead.js';
import { DeviceErrors } from '../src/gpu/device_errors.js';
import { Gpu } from '../src/gpu/gpu.js';
import { infoOf, knownAdapters } from '../src/gpu/known_adapters.js';
import { defineKernel, PipelineCache } from '../src/gpu/pipeline.js';
import { boundWith, readInterface, withBindings } from '../src/gpu/wgsl.js';
import { gatherBatch } from '../src/ops/batch.js';
import { linearInputGradient, linearParameterGradients } from '../src/ops/linear.js';
import { adamwStep, clipNorm, findNonFinite } from '../src/ops/optimizer.js';
import { type MatmulOperands, runMatmul } from '../src/ops/product.js';
import { Tensor } from '../src/tensor/tensor.js';
import { nullBackend } from './gpu.js';

let backend: GPU;
beforeAll(async () => {
  backend = await nullBackend();
});
const nullDevice = async (): Promise<GPUDevice> =>
  ((await backend.requestAdapter()) as GPUAdapter).requestDevice();

const TEXT = `override SUMS: bool = false;
override EPILOGUE: u32 = 0u;
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> aux: array<vec4<Element>>; // if EPILOGUE
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> sums: array<f32>; // if SUMS
`;
const AUX = 'var<private> aux: array<vec4<Element>, 4>; // if EPILOGUE';
const SUMS = 'var<private> sums: array<f32, 4>; // if SUMS';
const Y = '@group(0) @binding(1) var<storage, read_write> y: array<f32>;';

describe('the text', () => {
  it.each<[Record<string, number | boolean>, Record<number, string>]>([
    [{}, { 3: AUX, 4: Y, 5: SUMS }],
    [{ SUMS: false, EPILOGUE: 0 }, { 3: AUX, 4: Y, 5: SUMS }],
    [{ SUMS: true }, { 3: AUX, 4: Y, 5: '@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // if SUMS' }],
    [{ EPILOGUE: 2 }, { 5: SUMS }],
    [{ SUMS: 1, EPILOGUE: 3 }, {}],
  ])('with %j binds what it uses, and keeps its lines', (overrides, changed) => {
    const lines = TEXT.split('\n').map((line, at) => changed[at] ?? line);
    expect(withBindings(TEXT, boundWith(readInterface('k', TEXT), overrides)).split('\n')).toEqual(lines);
  }); // biome-ignore format: one specialisation a line

  const BUFFER = '@group(0) @binding(0) var<storage, read> x: array<f32>; // if ON';
  it.each([
    ['no override', BUFFER],
    ['an override that is on by default', `override ON: bool = true;\n${BUFFER}`],
    ['a number that is not 0 by default', `override ON: u32 = 1u;\n${BUFFER}`],
    ['a texture', 'override ON: bool = false;\n@group(0) @binding(0) var x: texture_storage_2d<rgba32float, read>; // if ON'],
  ])('with a condition on %s is refused', (_, text) => {
    const refused = () => defineKernel('k_forward', text);
    expect(refused).toThrow(KernelError);
    expect(refused).toThrow(/^\[k_forward\] x: "\/\/ if ON" must follow an array, and ON must be an override/);
  }); // biome-ignore format: one text a line

  it.each([false, true])('with an error names its line, bound: %s', async (bound) => {
    const device = await nullDevice();
    device.addEventListener('uncapturederror', (event) => event.preventDefault());
    const errors = new DeviceErrors();
    const body = `@compute @workgroup_size(1) fn main() {\n  y[0] = x[0];\n  if (SUMS) { sums[0] = none; }\n}\n`;
    const kernel = defineKernel('k_forward', TEXT.replace('<vec4<Element>>', '<f32>') + body);
    new PipelineCache(device, true, errors).get(kernel, { overrides: { SUMS: bound } });
    await errors.pending;
    expect(() => errors.check()).toThrow(/^kernels\/k_forward\.wgsl:9:25: .*none/);
    device.destroy();
  });
});

/** The operands of a dispatch by name, in binding order, and the buffers that it may write. */
interface Bound {
  readonly kernel: string;
  readonly names: string;
  readonly written: readonly unknown[];
}

/** What the dispatches of `body` bind, on a device of a known adapter that runs nothing. */
function boundBy(adapter: string, body: (gpu: Gpu) => void): Bound[] {
  const known = knownAdapters.find(({ name }) => name === adapter)!;
  const gpu = Gpu.dry(infoOf(known), known.limits);
  const kernels: Parameters<NonNullable<typeof gpu.diagnostics.onDispatch>>[0][] = [];
  gpu.diagnostics.onDispatch = (it) => kernels.push(it);
  const groups: GPUBindGroupEntry[][] = [];
  gpu.device.createBindGroup = ({ entries }) => {
    groups.push([...entries]);
    return {} as GPUBindGroup;
  };
  body(gpu);
  return groups.map((entries, i) => {
    const { kernel, specialisation } = kernels[i]!;
    const bindings = boundWith(kernel.interface, specialisation.overrides ?? {});
    const params = known.immediates || kernel.interface.fields.length === 0 ? 0 : 1;
    expect(entries.map(({ binding }) => binding)).toEqual(entries.map((_, at) => at));
    expect(entries).toHaveLength(bindings.length + params);
    const buffers = entries.map(({ resource }) => (resource as GPUBufferBinding).buffer);
    return {
      kernel: kernel.name,
      names: bindings.map(({ name }) => name).join(' '),
      written: buffers.filter((_, at) => bindings[at]?.kind === 'read_write'),
    };
  });
}

/** A product of 64 x 64 x 64 with these optional operands. */
const product = (optional: readonly string[]) => (gpu: Gpu) => {
  const [M, N, K] = [64, 64, 64];
  const matrix = () => Tensor.zeros(gpu, [64, 64]);
  const operands: MatmulOperands = {
    ...{ a: matrix(), b: matrix(), c: matrix() },
    bias: optional.includes('bias') ? Tensor.zeros(gpu, [N]) : undefined,
    epilogue: optional.includes('aux') ? { kind: 'residual', aux: matrix() } : undefined,
    sums: optional.includes('sums') ? Tensor.zeros(gpu, [M]) : undefined,
  };
  runMatmul({ batch: 1, M, N, K, transA: false, transB: false }, operands);
};
const flat = (gpu: Gpu) => Tensor.zeros(gpu, [1024]);
const adamw = (scaled: boolean) => (gpu: Gpu) => {
  const state = { parameter: flat(gpu), gradient: flat(gpu), m: flat(gpu), v: flat(gpu) };
  const constants = { beta1: 0.9, beta2: 0.99, eps: 0, weightDecay: 0, decayed: 0 };
  adamwStep({ ...state, scale: scaled ? flat(gpu) : undefined }, flat(gpu), flat(gpu), constants);
};
const gather = (framed: boolean) => (gpu: Gpu) => {
  const bytes = Tensor.zeros(gpu, [64], 'u32');
  const store = { parts: [{ first: 0, count: 1, images: bytes }], labels: bytes, norm: flat(gpu) };
  const crops = framed ? { frames: Tensor.zeros(gpu, [1, 9]), reflect: false } : undefined;
  gatherBatch(store, bytes, Tensor.zeros(gpu, [1, 1, 8, 8]), Tensor.zeros(gpu, [1], 'u32'), crops);
};

const [NVIDIA, CPU, PAGE] = ['NVIDIA H100', 'llvmpipe (LLVM 15.0.6, 512 bits)', 'a page in Firefox'];
it.each<[string, (gpu: Gpu) => void, string, string]>([
  ['a product alone', product([]), NVIDIA, 'a b c'],
  ['a product, its parameters in a buffer', product([]), PAGE, 'a b c'],
  ['a product with a bias', product(['bias']), NVIDIA, 'a b bias c'],
  ['a product with an epilogue', product(['aux']), NVIDIA, 'a b c aux'],
  ['a product with sums', product(['sums']), PAGE, 'a b c sums'],
  ['a product with everything', product(['bias', 'aux', 'sums']), NVIDIA, 'a b bias c aux sums'],
  // Its bias and epilogue are parameters, for which it would need more pipelines.
  ['a product by textures', product([]), CPU, 'a b beside bias c aux'],
  ['a product by textures with sums', product(['sums']), CPU, 'a b bias c aux sums'],
  ['AdamW', adamw(false), NVIDIA, 'gradient clip step parameter m v'],
  ['AdamW with factors', adamw(true), NVIDIA, 'gradient clip step parameter m v scale'],
  ['the norm', (gpu) => clipNorm(flat(gpu), flat(gpu), 1), NVIDIA, 'partial clip'],
  ['the norm of a scaled gradient', (gpu) => clipNorm(flat(gpu), flat(gpu), 1, flat(gpu)), NVIDIA, 'partial scale clip'],
  ['the search for NaN', (gpu) => findNonFinite(flat(gpu), flat(gpu)), NVIDIA, 'x first'],
  ['the search for NaN after a norm', (gpu) => findNonFinite(flat(gpu), flat(gpu), flat(gpu)), NVIDIA, 'x clip first'],
  ['a batch', gather(false), NVIDIA, 'images labels index norm y label'],
  ['a batch of crops', gather(true), NVIDIA, 'images labels index norm frames y label'],
])('%s binds what it uses', (_, body, adapter, names) => {
  expect(boundBy(adapter, body).at(-1)!.names).toBe(names);
}); // biome-ignore format: one call a line

it('an operand whose override is on, but which is not given, is a KernelError', () => {
  const kernel = defineKernel('k_forward', TEXT);
  const missing = (overrides: Record<string, number | boolean>) => () =>
    boundBy(NVIDIA, (gpu) => {
      gpu.run(kernel, { x: flat(gpu), y: flat(gpu), aux: undefined }, {}, 1, { overrides });
    });
  expect(missing({})).not.toThrow();
  expect(missing({ SUMS: true })).toThrow(new KernelError('[k_forward] operand sums is missing.'));
  expect(missing({ EPILOGUE: 1 })).toThrow(new KernelError('[k_forward] operand aux is missing.'));
});

it.each([true, false])(
  'kernels are compiled ahead with what they bind, immediates: %s',
  async (immediates) => {
    const device = await nullDevice();
    const complaints: string[] = [];
    device.addEventListener('uncapturederror', ({ error }) => complaints.push(error.message));
    const kernel = defineKernel('matmul_forward_plain', linkFile('kernels/matmul/matmul_forward_plain.wgsl'));
    const all = [{}, { BIAS: true }, { EPILOGUE: 2, SUMS: true }];
    compileAll(
      device,
      immediates,
      all.map((overrides) => ({ kernel, specialisation: { overrides } })),
    );
    await device.queue.onSubmittedWorkDone();
    expect(complaints).toEqual([]);
    device.destroy();
  },
);

it('the products of an input gradient and a weight gradient write different buffers', () => {
  const products = boundBy(NVIDIA, (gpu) => {
    const layer = { x: Tensor.zeros(gpu, [4096, 64]), weight: Tensor.zeros(gpu, [64, 64]) };
    const target = (shape: number[]) => ({ tensor: Tensor.zeros(gpu, shape), accumulate: false });
    const dy = Tensor.zeros(gpu, [4096, 64]);
    linearInputGradient(layer, dy, target([4096, 64]));
    linearParameterGradients(layer, dy, target([64, 64]), target([64]));
  }).filter(({ kernel }) => kernel.startsWith('matmul_forward'));
  expect(products.map(({ names }) => names)).toEqual(['a b c', 'a b c sums']);
  const written = products.flatMap((it) => it.written);
  expect(new Set(written).size).toBe(3);
  expect(written).toHaveLength(3);
});
