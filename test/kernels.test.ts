/**
 * Every kernel compiles on Dawn's null backend, which has all features and no driver, so that kernels which this adapter
 * cannot run are compiled, too: with all constants that a family may choose, at WebGPU's default limits. Pipelines are made
 * with every combination of overrides, except for subgroup matrices, for which the null backend has no configuration.
 */
import { readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { linkFile } from '../scripts/wgsl.mjs';
import { DeviceErrors } from '../src/gpu/device_errors.js';
import { defineKernel, type Kernel, PipelineCache } from '../src/gpu/pipeline.js';
import { matrixBlocks, matrixKernels } from '../src/ops/attention_kernels.js';
import { matrixTiles, SOFTWARE_TILES, TILES } from '../src/ops/product_kernels.js';
import { nullBackend } from './gpu.js';

const kernels = readdirSync('kernels', { recursive: true, encoding: 'utf8' })
  .map((file) => ({ name: basename(file, '.wgsl'), file: `kernels/${file.replaceAll('\\', '/')}` }))
  .filter(({ name, file }) => file.endsWith('.wgsl') && name.includes('_'))
  .map(({ name, file }) => defineKernel(name, linkFile(file)))
  .filter(({ source }) => source.includes('@compute'));

type Tune = Readonly<Record<string, number>>;

/** The constants that families may choose for their kernels. Element types (`Element…`) are added below. */
const lanes = [8, 16].map((LANES) => ({ LANES }));
const heads = [4, 32, 64, 128].map((HEAD) => ({ HEAD }));
const headsOnLanes = lanes.flatMap((tune) =>
  [1, 8, 16].flatMap((HEAD4) => [1, 3, 5].map((ROWS) => ({ ...tune, HEAD4, ROWS, TILE: 8 }))),
);
const quarters = [1, 3, 16, 32].flatMap((HEAD4) =>
  [1, 4].flatMap((AT_ONCE) => [1, 3].map((ROWS) => ({ HEAD4, AT_ONCE, ROWS }))),
);
const quads = [1, 4, 8].flatMap((QUADS) => [8, 32].map((LANES) => ({ LANES, QUADS })));
const matrices = (
  [
    ['f16', 16, 16, 16],
    ['f16', 16, 8, 16],
    ['f16', 8, 16, 16],
    ['f32', 8, 8, 8],
  ] as const
).map(([componentType, M, N, K]) => ({ componentType, resultComponentType: 'f32', M, N, K }));
const blocksOf = (kernel: string) =>
  matrices.flatMap((config) =>
    [20, 64, 128].flatMap((head) => matrixBlocks(kernel, config, { lanes: 32, head, bits: 32 })),
  );
/** Kernels whose need for workgroup memory depends on their constants. */
const tiles: Readonly<Record<string, readonly { readonly bytes: number; readonly tune: Tune }[]>> = {
  matmul_forward: [...TILES, ...SOFTWARE_TILES],
  matmul_forward_subgroup_matrix: matrices.flatMap((config) => matrixTiles(config, 32)),
  ...Object.fromEntries(Object.keys(matrixKernels).map((kernel) => [kernel, blocksOf(kernel)])),
};
const DEFAULT_BYTES = 16384;

const TUNES: Readonly<Record<string, readonly Tune[]>> = {
  matmul_forward_texture: lanes.flatMap((tune) => [24, 64, 72, 80].map((ROWS) => ({ ...tune, ROWS }))),
  matmul_forward_layers: [64].map((ROWS) => ({ ROWS })),
  matmul_forward_panel: [
    { DEPTH: 64, PART: 64, STRIP: 520 },
    { DEPTH: 192, PART: 96, STRIP: 520 },
  ],
  attention_forward: heads,
  attention_query_backward: heads,
  attention_key_backward: heads,
  attention_forward_subgroup: quarters,
  attention_query_backward_subgroup: quarters,
  attention_key_backward_subgroup: quarters,
  attention_forward_texture: headsOnLanes,
  attention_query_backward_texture: headsOnLanes,
  attention_key_backward_texture: headsOnLanes,
  layer_norm_forward_subgroup: quads,
  layer_norm_backward_subgroup: quads,
}; // biome-ignore format: one kernel a line

/** Values of `override`s that call sites set. Other overrides keep their defaults. */
function overridesOf({ source }: Kernel): Record<string, number>[] {
  const names = [...source.matchAll(/^override (\w+): bool/gm)].map((match) => match[1] as string);
  const values = [...names.map((name) => [name, 2] as const), ...(source.includes('override EPILOGUE') ? [['EPILOGUE', 4] as const] : [])];
  return values.reduce<Record<string, number>[]>(
    (all, [name, count]) => all.flatMap((one) => Array.from({ length: count }, (_, value) => ({ ...one, [name]: value }))),
    [{}],
  );
} // biome-ignore format: a table in words

const FEATURES = [
  ...['shader-f16', 'subgroups', 'subgroup-size-control', 'chromium-experimental-subgroup-matrix'],
] as GPUFeatureName[];
let gpu: GPU;
let device: GPUDevice;
const complaints: string[] = [];

beforeAll(async () => {
  gpu = await nullBackend();
  const adapter = await gpu.requestAdapter();
  device = await (adapter as GPUAdapter).requestDevice({ requiredFeatures: FEATURES });
  device.addEventListener('uncapturederror', (event) => complaints.push(event.error.message));
});
afterAll(() => device.destroy());

/** Adds the compiler's errors to the complaints. */
async function told(errors: DeviceErrors): Promise<void> {
  await errors.pending;
  try {
    errors.check();
  } catch (error) {
    complaints.push((error as Error).message);
  }
}

describe.each([true, false])('immediates: %s', (immediates) => {
  it.each(kernels.map((kernel) => [kernel.name, kernel] as const))('%s', async (name, kernel) => {
    const tunes = tiles[name]?.map(({ tune }) => tune) ?? TUNES[name] ?? [{}];
    const [elements, constants] = [true, false].map((wanted) =>
      kernel.interface.tunables.filter((it) => /^(Element|UNIT_)/.test(it) === wanted),
    ) as [string[], string[]];
    const given = Object.keys(tunes[0] as Tune).filter((it) => !elements.includes(it));
    expect(given.sort()).toEqual(constants.sort());
    const widths = elements.length > 0 ? [32, 16] : [32];
    complaints.length = 0;
    // The cache makes the layout that the engine uses. Where no pipeline is possible, only the module is compiled.
    const errors = new DeviceErrors();
    const cache = new PipelineCache(device, immediates, errors);
    const matrix = name.endsWith('_subgroup_matrix');
    const all = overridesOf(kernel);
    const fewest = [{}, all.at(-1)!]; // nothing, and everything, so that every binding is declared in both ways
    for (const width of widths)
      for (const one of tunes) {
        const ofElements = elements.map((it) => [it, it.startsWith('UNIT_') ? 128 / width : width]);
        const tune = { ...one, ...Object.fromEntries(ofElements) };
        for (const overrides of matrix ? fewest : all) cache.get(kernel, { tune, overrides });
      }
    await told(errors);
    await device.queue.onSubmittedWorkDone();
    // A tile that needs more workgroup memory than the default limit is refused, and the error has the bytes it declares.
    const refused = (text: string) =>
      Number(/total use of workgroup storage \((\d+) bytes\)/.exec(text)?.[1] ?? 0);
    const bytes = new Set(tiles[name]?.map((tile) => tile.bytes).filter((it) => it > DEFAULT_BYTES));
    expect(new Set(complaints.map(refused).filter((it) => it > 0))).toEqual(bytes);
    const others = complaints.filter((it) => refused(it) === 0);
    expect(
      others.filter((it) => !(matrix && /no subgroup matrix configuration/.test(it))).slice(0, 3),
    ).toEqual([]);
  });
});

it('a kernel that is wrong is told', async () => {
  complaints.length = 0;
  const errors = new DeviceErrors();
  const cache = new PipelineCache(device, true, errors);
  cache.get(defineKernel('wrong', '@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }'), {});
  await told(errors);
  expect(complaints.some((it) => /wrong\.wgsl:1:/.test(it))).toBe(true);
});

// Kernels rely on strides and offsets of 16 x 16 f16 matrices counting quads. Dawn's errors for bad ones confirm it.
it.each([
  ['strides count quads', 64, 0, 4, null],
  ['less than a row of quads is no stride', 64, 0, 3, /stride argument \(3, 24 bytes\)/],
  ['offsets count quads', 64, 1, 4, /512 bytes.*520 bytes/],
])('matrix loads: %s', async (_, quads, offset, stride, refused) => {
  const code = `enable f16; enable subgroups; enable chromium_experimental_subgroup_matrix;
    var<workgroup> tile: array<vec4<f16>, ${quads}>;
    @compute @workgroup_size(32) fn main() {
      let m = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, ${offset}u, ${stride}u);
      subgroupMatrixStore<row_major>(&tile, ${offset}u, m, ${stride}u);
    }`;
  const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
  const errors = messages.filter(({ type }) => type === 'error').map(({ message }) => message);
  if (refused) expect(errors.join()).toMatch(refused);
  else expect(errors).toEqual([]);
});
