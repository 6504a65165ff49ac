/**
 * Every pipeline of a training step on every known adapter is legal there. It is made on Dawn's null backend with exactly
 * the adapter's features. The null backend has WebGPU's default limits and tells how much workgroup memory a kernel takes.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { pickedModels, type StepKernels, stepKernels } from '../src/check/known_steps.js';
import { picksOf, picksText } from '../src/check/picks.js';
import { DeviceErrors } from '../src/gpu/device_errors.js';
import type { Dispatched } from '../src/gpu/diagnostics.js';
import { infoOf, type KnownAdapter, knownAdapters } from '../src/gpu/known_adapters.js';
import { PipelineCache } from '../src/gpu/pipeline.js';
import { nullBackend, openGpu } from './gpu.js';

let gpu: GPU;
beforeAll(async () => {
  gpu = await nullBackend();
});

const request = async () => (await gpu.requestAdapter()) as GPUAdapter;

interface Compiler {
  readonly device: GPUDevice;
  readonly cache: PipelineCache;
  /** Dawn's errors by pipeline; an empty text for none. */
  readonly errors: Map<string, Promise<string>>;
}
const compilers = new Map<string, Promise<Compiler>>();

/** One compiler for all adapters of the same features. */
function compilerOf({ features, immediates }: KnownAdapter): Promise<Compiler> {
  const key = [...features, immediates].join();
  const open = async (): Promise<Compiler> => {
    const device = await (await request()).requestDevice({ requiredFeatures: features as GPUFeatureName[] });
    return { device, cache: new PipelineCache(device, immediates, new DeviceErrors()), errors: new Map() };
  };
  const compiler = compilers.get(key) ?? open();
  compilers.set(key, compiler);
  return compiler;
}

const keyOf = ({ kernel, specialisation: { tune = {}, overrides = {} } }: Dispatched): string =>
  JSON.stringify([kernel.name, Object.entries(tune).sort(), Object.entries(overrides).sort()]);

/** Dawn's error for a pipeline. Each is made once. */
function compile({ device, cache, errors }: Compiler, dispatched: Dispatched): Promise<string> {
  const known = errors.get(keyOf(dispatched));
  if (known) return known;
  device.pushErrorScope('validation');
  cache.get(dispatched.kernel, dispatched.specialisation);
  const error = device.popErrorScope().then((it) => it?.message ?? '');
  errors.set(keyOf(dispatched), error);
  return error;
}

/** Whether matrices of a kernel are among the adapter's, and its workgroups are whole subgroups of the largest size. */
function suits(known: KnownAdapter, { specialisation: { tune = {} } }: Dispatched): boolean {
  const { SM, SN, SK, Part, LANES = 0, WG, HIGH = 1, WIDE = 1 } = tune;
  const wanted = { componentType: `f${Part}`, resultComponentType: 'f32', M: SM, N: SN, K: SK };
  const [, most] = known.subgroupSizes;
  const invocations = WG ?? HIGH * WIDE * LANES;
  return (
    known.subgroupMatrix.some((it) => JSON.stringify(it) === JSON.stringify(wanted)) &&
    LANES === infoOf(known).lanes &&
    invocations % most === 0 && // as Dawn wants it of kernels with matrices
    invocations <= known.limits.maxComputeInvocationsPerWorkgroup
  );
}

/** The pipelines of a step that an adapter does not allow, and why. */
async function illegal(known: KnownAdapter, { dispatched }: StepKernels): Promise<string[]> {
  const compiler = await compilerOf(known);
  const found: string[] = [];
  for (const it of new Map(dispatched.map((one) => [keyOf(one), one])).values()) {
    const { name } = it.kernel;
    const message = await compile(compiler, it);
    const bytes = Number(/total use of workgroup storage \((\d+) bytes\)/.exec(message)?.[1] ?? 0);
    if (bytes > known.limits.maxComputeWorkgroupStorageSize)
      found.push(`${name} takes ${bytes} bytes of workgroup memory.`);
    const matrices = name.endsWith('_subgroup_matrix');
    if (matrices && !suits(known, it)) found.push(`${name} does not suit the adapter's matrices.`);
    // The null backend has no sizes of matrices.
    const expected = bytes > 0 || (matrices && /no subgroup matrix configuration/.test(message));
    if (message && !expected) found.push(`${name}: ${message}`);
  }
  return found;
}

const named = (name: string): KnownAdapter => knownAdapters.find((it) => it.name === name)!;
const stepsOf = async (name: string): Promise<StepKernels[]> =>
  (await Promise.all(pickedModels.map((model) => stepKernels(named(name), model)))).flat();

describe.each(knownAdapters.map((known) => [known.name, known] as const))('%s', (name, known) => {
  it('runs only what it allows', async () => {
    for (const step of await stepsOf(name)) {
      expect(await illegal(known, step)).toEqual([]);
      // Where a model fits at no batch size, a limit is why.
      if (step.batch === 0) expect(step.limit).toMatch(/this adapter allows/);
      else expect(picksOf(step).picks.length).toBeGreaterThan(10);
    }
  });

  it('has at least the limits of the null backend', async () => {
    const least = (await request()).limits as unknown as Record<string, number>;
    for (const [limit, value] of Object.entries(known.limits))
      expect(value, limit).toBeGreaterThanOrEqual(least[limit]!);
  });
});

const small = { maxComputeWorkgroupStorageSize: 16384 };
it.each([
  ['no subgroups', 'NVIDIA H100', named('a page in Firefox'), /attention_forward_subgroup: .*subgroups/],
  ['no f16', 'Intel Iris Xe', named('SwiftShader Device (Subzero)'), /: .*f16/],
  ['less workgroup memory', 'NVIDIA H100', { ...named('NVIDIA H100'), limits: { ...named('NVIDIA H100').limits, ...small } }, /matmul_forward takes \d+ bytes/],
  ['other matrices', 'NVIDIA H100', named('Apple M2'), /matmul_forward_subgroup_matrix does not suit/],
  ['subgroups of no known size', 'AMD Radeon RX 7900 XTX', { ...named('AMD Radeon RX 7900 XTX'), features: named('Apple M2').features }, /matmul_forward_subgroup_matrix does not suit/],
] as const)('kernels for another adapter are illegal with %s', async (_, name, known, says) => {
  const found: string[] = [];
  for (const step of await stepsOf(name)) found.push(...(await illegal(known, step)));
  expect(found.join('\n')).toMatch(says);
}); // biome-ignore format: one adapter a line

it('the adapter of this machine is as its row says, if it has one', async () => {
  const open = await openGpu();
  const { info, device } = open;
  const row = knownAdapters.find(({ name }) => name === info.name);
  open.close();
  if (!row) return;
  expect({ ...infoOf(row), driver: '' }).toEqual({ ...info, driver: '' });
  for (const [limit, value] of Object.entries(row.limits))
    expect((device.limits as unknown as Record<string, number>)[limit], limit).toBe(value);
});

describe('the text of an adapter', () => {
  const text = async (name: string) => picksText(named(name), (await stepsOf(name)).map(picksOf));

  it.each([
    ['llvmpipe (LLVM 15.0.6, 512 bits)', /^CPU, subgroups of 16, f16, 32 KiB of workgroup memory, 16 storage buffers$/m],
    ['llvmpipe (LLVM 15.0.6, 512 bits)', /^ViT-B\/16: batch 32; no more fits: \[matmul_forward_layers\] binds \d+ bytes/m],
    ['llvmpipe (LLVM 15.0.6, 512 bits)', /^\| matmul_forward_panel +\| 520x64 +\| forward NT qkv proj fc1; input gradient NN proj fc2 +\| ViT-Tiny +\|$/m],
    ['llvmpipe (LLVM 15.0.6, 512 bits)', /^\| matmul_forward_layers +\| 64x64 +\| forward NT fc2; weight gradient TN qkv proj fc1 fc2; input gradient NN qkv fc1 +\| all +\|$/m],
    ['Qualcomm Adreno 750', /^ViT-B\/16: batch 32 \(float32\), 64 \(--amp\); no more fits: /m],
    ['a page in Firefox', /^ViT-B\/16 does not fit: \[parameters\] wanted 369\.1 MB in one buffer/m],
    ['AMD Radeon RX 7900 XTX', /^\| matmul_forward_subgroup_matrix +\| 128x128x64, 16x16x16 f16, 2x2 subgroups +\| .*fc1.* \| ViT-S --amp, ViT-B\/16 --amp +\|$/m],
    ['Intel Arc A770', /^\| layer_norm_forward_subgroup +\| LANES 16, QUADS 3 +\| layer norm forward +\| ViT-Tiny +\|$/m],
    ['NVIDIA H100', /^\| layer_norm_forward_subgroup +\| LANES 32, QUADS 2 +\| layer norm forward +\| ViT-Tiny +\|$/m],
    ['NVIDIA H100', /^\| matmul_forward_subgroup_matrix +\| 128x128x64, 16x16x16 f16, 2x2 subgroups +\| .*fc1.* \| ViT-S --amp, ViT-B\/16 --amp +\|$/m],
  ])('%s: %s', async (name, says) => {
    expect(await text(name)).toMatch(says);
  }); // biome-ignore format: one line a row
});
