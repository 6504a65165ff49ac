/** The choice of the kernel for a matrix product and of its constants, for an adapter. Pure. */
import tiles from '../../kernels/matmul/matmul_forward.wgsl';
import layers from '../../kernels/matmul/matmul_forward_layers.wgsl';
import panel from '../../kernels/matmul/matmul_forward_panel.wgsl';
import plain from '../../kernels/matmul/matmul_forward_plain.wgsl';
import matrices from '../../kernels/matmul/matmul_forward_subgroup_matrix.wgsl';
import texture from '../../kernels/matmul/matmul_forward_texture.wgsl';
import type { AdapterInfo, SubgroupMatrixConfig } from '../gpu/device.js';
import { defineKernel } from '../gpu/pipeline.js';
import { type Choice, type Family, MAX_TEXELS, softwareLanes, type Tuning } from '../gpu/variants.js';
import { bitsOf, usable } from './matrix_units.js';

/** C (M, N) = A (M, K) · B (K, N), `batch` of them; with transA, A is stored (K, M), with transB, B is stored (N, K). */
export interface MatmulShape {
  readonly batch: number;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly transA: boolean;
  readonly transB: boolean;
  /** The elements of A and B are rounded to f16. */
  readonly half?: boolean;
  /** At least one of the tensors is f16. */
  readonly narrow?: boolean;
  /** Work beside the product: + bias, an epilogue with an operand of C's shape, sums over A's rows. */
  readonly bias?: boolean;
  readonly aux?: boolean;
  readonly sums?: boolean;
}

export const layersKernel = defineKernel('matmul_forward_layers', layers);
export const panelKernel = defineKernel('matmul_forward_panel', panel);
export const textureKernel = defineKernel('matmul_forward_texture', texture);
export const plainKernel = defineKernel('matmul_forward_plain', plain);
export const tileKernel = defineKernel('matmul_forward', tiles);
export const matrixKernel = defineKernel('matmul_forward_subgroup_matrix', matrices);

// Copies at another pitch cost as much as a small product.
const WORTH_PITCHING = 1 << 18;

/** True where the contiguous axes of A, B and C are whole quads, as all kernels but the plain one need them. */
const inQuads = ({ M, N, K, transA, transB }: MatmulShape): boolean =>
  N % 4 === 0 && (transA ? M : K) % 4 === 0 && (!transB || K % 4 === 0);

/** True where copies at whole quads can take the operands' place: a ragged C allows neither epilogue nor sums. */
const canPitch = ({ N, aux = false, sums = false }: MatmulShape): boolean => N % 4 === 0 || !(aux || sums);

const worthPitching = (shape: MatmulShape): boolean =>
  inQuads(shape) || shape.batch * shape.M * shape.N * shape.K >= WORTH_PITCHING;

/** Rows and columns of C that a workgroup computes, and the k of a slice. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Workgroup memory. */
  readonly bytes: number;
  /** Of a full adapter, in units that only tiles of the same kernel share. */
  readonly rate: number;
  /** Time to begin and to end a workgroup, as so many k. */
  readonly overhead: number;
  /** Workgroups that run at a time, of a full adapter's `productGroups`. */
  readonly share: number;
  /** True if a workgroup mostly waits for its loads: then one that runs alone takes as long as beside others. */
  readonly waits: boolean;
  readonly tune: Tuning;
}

// One pass adds at most so many parts of a sum, in order; a part of fewer slices is not worth a workgroup.
const MOST_PARTS = 32;
const LEAST_SLICES = 8;
/** Time to write and add an element of a part, in elements of C by k over the rate. */
const COST_OF_A_PART = 0.006;

/** Parts that the sum over k may be cut into: a batch, a bias or an epilogue leaves it whole. */
const mostParts = ({ batch, K, bias = false, aux = false }: MatmulShape, depth: number): number =>
  batch > 1 || bias || aux ? 1 : Math.max(1, Math.min(MOST_PARTS, Math.floor(K / (LEAST_SLICES * depth))));

/** The k of each of so many parts of a sum: whole slices. */
const chunkFor = (K: number, depth: number, parts: number): number =>
  parts > 1 ? depth * Math.ceil(K / (depth * parts)) : K;

/**
 * The time of a product by a tile, with its sum in the best number of parts, and that number. As many workgroups run at a time as
 * fit the adapter. A unit of time is 0.53 ns on one NVIDIA H100.
 */
export function plan(adapter: AdapterInfo, shape: MatmulShape, tile: Tile): { time: number; parts: number } {
  const { M, N, K, batch } = shape;
  const { rows, columns, depth, rate, overhead, share, waits } = tile;
  const groups = Math.ceil(M / rows) * Math.ceil(N / columns) * batch;
  const atOnce = adapter.knobs.productGroups * share;
  const timed = (parts: number) => {
    const waves = (groups * parts) / atOnce;
    const wave = (share * rows * columns * (chunkFor(K, depth, parts) + overhead)) / rate;
    const adding = parts > 1 ? parts * M * N * COST_OF_A_PART : 0;
    return { parts, time: wave * (waits ? Math.ceil(waves) : Math.max(1, waves)) + adding };
  };
  const most = groups < atOnce ? mostParts(shape, depth) : 1;
  const all = Array.from({ length: most }, (_, i) => timed(i + 1));
  return all.toSorted((a, b) => a.time - b.time)[0] as { time: number; parts: number };
}

// The area that the knobs of growth leave at its rate.
const RATED_AREA = 64 * 64;

/** The fitting tile that takes least time. */
function chooseTile(
  adapter: AdapterInfo,
  shape: MatmulShape,
  all: readonly Tile[],
  growth: number,
): Tile | undefined {
  const time = (tile: Tile) =>
    plan(adapter, shape, tile).time / ((tile.rows * tile.columns) / RATED_AREA) ** growth;
  return all.filter(({ bytes }) => bytes <= adapter.workgroupBytes).toSorted((a, b) => time(a) - time(b))[0];
}

// Rates are TFLOP/s in the middle of large products on one NVIDIA H100, of 132 multiprocessors and so 264 `productGroups`. Only
// their ratios count.
/** By 16 x 8, 8 x 12, 8 x 8, 8 x 4 and 4 x 4 elements an invocation. */
export const TILES: readonly Tile[] = [
  tile([16, 4, 2, 8], 31),
  tile([8, 4, 2, 8], 30),
  tile([8, 2, 3, 8], 28),
  tile([16, 2, 1, 16], 27),
  tile([8, 2, 2, 8], 28),
  tile([16, 1, 1, 16], 23),
];
/** A CPU driver's compiler unrolls the work on a slice, so its slices are short. */
export const SOFTWARE_TILES: readonly Tile[] = [tile([16, 1, 1, 4], 1)];

function tile([HIGH, QM, QN, DEPTH]: [number, number, number, number], rate: number): Tile {
  const [rows, columns] = [4 * HIGH * QM, 64 * QN];
  const bytes = 8 * DEPTH * (rows + columns);
  const always = { overhead: 0, share: 1, waits: false };
  return { rows, columns, depth: DEPTH, bytes, rate, ...always, tune: { HIGH, QM, QN, DEPTH } };
}

/** TILE_M, TILE_N, DEPTH, HIGH, WIDE, AT_ONCE; the rate, the overhead and the share. */
const MATRIX_TILES = [
  [128, 128, 64, 2, 2, 2, 290, 325, 1],
  [128, 96, 64, 2, 2, 3, 241, 273, 1],
  [128, 256, 32, 2, 4, 2, 186, 94, 0.5],
  [128, 192, 32, 2, 3, 2, 161, 156, 0.5],
  [128, 128, 32, 2, 2, 2, 135, 131, 1],
  [128, 96, 32, 2, 2, 3, 130, 131, 1],
  [64, 64, 64, 2, 2, 2, 100, 131, 2],
  [64, 64, 16, 2, 2, 2, 40, 131, 2],
] as const;

/** Tiles of matrices of one configuration, on subgroups of so many lanes. */
export function matrixTiles(config: SubgroupMatrixConfig, lanes: number): Tile[] {
  const { M, N, K } = config;
  const part = bitsOf(config);
  const shared = { Part: part, SM: M, SN: N, SK: K, LANES: lanes };
  return MATRIX_TILES.map(([rows, columns, depth, HIGH, WIDE, AT_ONCE, rate, overhead, share]) => ({
    ...{ rows, columns, depth, rate, overhead, share, waits: true },
    bytes:
      ((rows + columns) * (depth + 8) * part) / 8 +
      HIGH * WIDE * Math.max(4 * M * (AT_ONCE * N + 4), 32 * lanes),
    tune: { ...shared, HIGH, WIDE, AT_ONCE, TILE_M: rows, TILE_N: columns, DEPTH: depth },
  }));
}

function plainTile(adapter: AdapterInfo, shape: MatmulShape): Tile | undefined {
  return chooseTile(adapter, shape, adapter.software ? SOFTWARE_TILES : TILES, adapter.knobs.tileGrowth);
}

function matrixTile(adapter: AdapterInfo, shape: MatmulShape): Tile | undefined {
  const [config] = usable(adapter, shape.half);
  const { knobs, lanes } = adapter;
  return config && chooseTile(adapter, shape, matrixTiles(config, lanes), knobs.matrixTileGrowth);
}

const TEXTURE_ROWS = 64;

/**
 * Rows of a tile of the texture kernel. Small matrices of a batch have tiles of their own where 64 rows would waste more: 65
 * rows are one tile of 72. Other products share the pipelines of one height, because each takes a second to compile.
 */
function textureRows({ batch, M, transA }: MatmulShape, lanes: number): number {
  if (batch === 1 || transA) return TEXTURE_ROWS;
  const tiles = Math.ceil(M / (TEXTURE_ROWS + lanes));
  const rows = lanes * Math.ceil(M / (tiles * lanes));
  return rows * tiles < TEXTURE_ROWS * Math.ceil(M / TEXTURE_ROWS) ? rows : TEXTURE_ROWS;
}

/** The most k of which a subgroup keeps 64 columns of B: 64 KB, a part of its second cache. */
const DEEPEST_PANEL = 256;
/** Rows of a strip: a panel serves so many, and a CPU's cores share the strips. */
const STRIP = 520;
/** A texture's rows and layers that Mesa's driver allows, in elements of a matrix. */
const MOST_ROWS = 16384;
const LAYER = 64;

/** True if vectors have 16 lanes and each stored matrix is whole layers of 64 columns, as the kernels of layers need them. */
function inLayers(adapter: AdapterInfo, shape: MatmulShape): boolean {
  const { batch, M, N, K, transA, transB, narrow = false, sums = false } = shape;
  const columns = [N, transA ? M : K, transB ? K : N];
  const rows = [M, transA ? K : M, transB ? N : K];
  return (
    softwareLanes(adapter) === 16 &&
    batch === 1 &&
    !narrow &&
    (transA || !sums) &&
    columns.every((n) => n % LAYER === 0) &&
    Math.max(...columns, ...rows) <= MOST_ROWS
  );
}

export const matmulKernels: Family<MatmulShape> = {
  name: 'matmul_forward',
  knob: ({ half = false }) => (half ? 'halfProducts' : 'products'),
  variants: [
    {
      kind: 'subgroup_matrix',
      kernel: matrixKernel,
      tune: (adapter, shape) =>
        canPitch(shape) && (shape.transA || !shape.sums) ? (matrixTile(adapter, shape)?.tune ?? null) : null,
      wanted: (_, shape) => worthPitching(shape),
    },
    {
      kind: 'texture',
      kernel: panelKernel,
      tune: (adapter, shape) =>
        inLayers(adapter, shape) && !shape.transA && shape.K <= DEEPEST_PANEL
          ? { DEPTH: shape.K, PART: shape.K % 96 === 0 ? 96 : 64, STRIP }
          : null,
    },
    {
      kind: 'texture',
      kernel: layersKernel,
      tune: (adapter, shape) => (inLayers(adapter, shape) ? { ROWS: TEXTURE_ROWS } : null),
    },
    {
      kind: 'texture',
      kernel: textureKernel,
      tune: (adapter, shape) => {
        const { batch, M, N, K } = shape;
        const lanes = softwareLanes(adapter);
        const fits = batch * (K + 3) * (Math.max(M, N) + 3) <= 4 * MAX_TEXELS;
        return lanes > 0 && fits && !shape.narrow && canPitch(shape)
          ? { LANES: lanes, ROWS: textureRows(shape, lanes) }
          : null;
      },
      wanted: (_, shape) => worthPitching(shape),
    },
    {
      kind: 'tile',
      kernel: tileKernel,
      tune: (adapter, shape) => (canPitch(shape) ? (plainTile(adapter, shape)?.tune ?? null) : null),
      wanted: ({ knobs }, shape) =>
        shape.M * shape.N * shape.K >= knobs.plainProducts && worthPitching(shape),
    },
    { kind: 'plain', kernel: plainKernel, tune: () => ({}) },
  ],
};

/** Every kernel with every tile that this adapter can run the product with: for checks. */
export function everyChoice(adapter: AdapterInfo, shape: MatmulShape): Choice[] {
  const fitting = (all: readonly Tile[]) => all.filter(({ bytes }) => bytes <= adapter.workgroupBytes);
  const byTiles: Readonly<Record<string, readonly Tile[]>> = {
    [tileKernel.name]: fitting(adapter.software ? SOFTWARE_TILES : TILES),
    [matrixKernel.name]: usable(adapter, shape.half).flatMap((it) => fitting(matrixTiles(it, adapter.lanes))),
  };
  return matmulKernels.variants.flatMap(({ kernel, tune }) => {
    const own = tune(adapter, shape);
    if (!own) return [];
    return byTiles[kernel.name]?.map((one) => ({ kernel, tune: one.tune })) ?? [{ kernel, tune: own }];
  });
}

/** The tile of the chosen kernel; null for the plain and the texture kernels, which have none. */
function tileOf({ kernel, tune }: Choice, adapter: AdapterInfo, { half }: MatmulShape): Tile | null {
  const all =
    kernel === tileKernel
      ? [...TILES, ...SOFTWARE_TILES]
      : kernel === matrixKernel
        ? usable(adapter, half).flatMap((config) => matrixTiles(config, adapter.lanes))
        : [];
  const same = (other: Tuning) => Object.entries(other).every(([name, value]) => tune[name] === value);
  return all.find((one) => same(one.tune)) ?? null;
}

/** Rows and columns of C that a workgroup of the chosen kernel computes, and its slice of k; null for the plain kernel. */
export function extentOf({ kernel, tune }: Choice): { rows: number; columns: number; depth: number } | null {
  const { LANES = 0, ROWS = 0, HIGH = 16, QM = 0, QN = 0, TILE_M = 0, TILE_N = 0, DEPTH = 0 } = tune;
  if (kernel === tileKernel) return { rows: 4 * HIGH * QM, columns: 64 * QN, depth: DEPTH };
  if (kernel === matrixKernel) return { rows: TILE_M, columns: TILE_N, depth: DEPTH };
  if (kernel === textureKernel) return { rows: ROWS, columns: 4 * LANES, depth: 0 };
  if (kernel === layersKernel) return { rows: ROWS, columns: LAYER, depth: 0 };
  if (kernel === panelKernel) return { rows: STRIP, columns: LAYER, depth: 0 };
  return null;
}

/**
 * The number of k that each workgroup sums: all, or a part where tiles alone leave the adapter idle. This is so in a weight's
 * gradient, whose sum is over all tokens of a batch.
 */
export function chunkOf(choice: Choice, adapter: AdapterInfo, shape: MatmulShape): number {
  const tile = tileOf(choice, adapter, shape);
  return tile ? chunkFor(shape.K, tile.depth, plan(adapter, shape, tile).parts) : shape.K;
}
