/** The choice of attention's kernels and of their constants, for an adapter. Pure. */
import forward from '../../kernels/attention/attention_forward.wgsl';
import forwardSubgroup from '../../kernels/attention/attention_forward_subgroup.wgsl';
import forwardMatrices from '../../kernels/attention/attention_forward_subgroup_matrix.wgsl';
import forwardTexture from '../../kernels/attention/attention_forward_texture.wgsl';
import keyBackward from '../../kernels/attention/attention_key_backward.wgsl';
import keyBackwardSubgroup from '../../kernels/attention/attention_key_backward_subgroup.wgsl';
import keyBackwardMatrices from '../../kernels/attention/attention_key_backward_subgroup_matrix.wgsl';
import keyBackwardTexture from '../../kernels/attention/attention_key_backward_texture.wgsl';
import queryBackward from '../../kernels/attention/attention_query_backward.wgsl';
import queryBackwardSubgroup from '../../kernels/attention/attention_query_backward_subgroup.wgsl';
import queryBackwardMatrices from '../../kernels/attention/attention_query_backward_subgroup_matrix.wgsl';
import queryBackwardTexture from '../../kernels/attention/attention_query_backward_texture.wgsl';
import type { AdapterInfo, SubgroupMatrixConfig } from '../gpu/device.js';
import { defineKernel } from '../gpu/pipeline.js';
import { type Choice, type Family, MAX_TEXELS, softwareLanes, type Tuning } from '../gpu/variants.js';
import { ROW_WG } from './common.js';
import { bitsOf, usable } from './matrix_units.js';

export interface AttentionSizes {
  readonly B: number;
  readonly N: number;
  readonly H: number;
  readonly head: number;
  /** Bits of an element of qkv, the output and their gradients. */
  readonly bits: number;
  /** The multiplied elements may be rounded to f16. */
  readonly half: boolean;
}

/** Queries and keys whose weights a workgroup computes at a time. */
export interface Block {
  readonly queries: number;
  readonly keys: number;
  /** Workgroup memory. */
  readonly bytes: number;
  readonly tune: Tuning;
}

/** Properties in which the kernels for matrix units differ. */
interface MatrixKernel {
  /** A workgroup owns a block of keys and passes over the queries; otherwise it is the other way round. */
  readonly ownsKeys: boolean;
  /** Workgroup memory in bytes: operands of so many bytes an element, rows of `wide`, results in f32. */
  bytes(size: { part: number; wide: number; queries: number; keys: number }): number;
}

// Elements behind each row in workgroup memory, so that neighbours start on different banks.
const PAD = 8;

export const matrixKernels: Readonly<Record<string, MatrixKernel>> = {
  attention_forward_subgroup_matrix: {
    ownsKeys: false,
    bytes: ({ part, wide, queries, keys }) =>
      part * ((queries + keys) * (wide + PAD) + queries * (keys + PAD)) +
      4 * queries * (Math.max(keys, wide) + PAD),
  },
  attention_query_backward_subgroup_matrix: {
    ownsKeys: false,
    bytes: ({ part, wide, queries, keys }) =>
      part * (2 * (queries + keys) * (wide + PAD) + queries * (keys + PAD)) +
      4 * queries * Math.max(2 * (keys + PAD), wide + PAD),
  },
  attention_key_backward_subgroup_matrix: {
    ownsKeys: true,
    bytes: ({ part, wide, queries, keys }) =>
      part * (2 * (queries + keys) * (wide + PAD) + 2 * queries * (keys + PAD)) +
      4 * Math.max(2 * queries * (keys + PAD), keys * (wide + PAD)),
  },
};

const QUERIES = [64, 32, 16];
const KEYS = [128, 112, 96, 80, 64, 48, 32, 16];
/** Invocations of a workgroup, and of those that share a query's row. */
const WORKGROUPS = [256, 128];
const SHARES = [4, 8];
const LARGEST_HEAD = 128;
// Lanes of a row in the kernels that share it by shuffles.
const SHARE = 4;
// Floats of its two gradients that an invocation of the keys' pass may hold as matrices.
const MOST_SUMS = 64;

/** All blocks by matrices of one configuration on subgroups of so many lanes, the largest first. */
export function matrixBlocks(
  kernel: string,
  config: SubgroupMatrixConfig,
  { lanes, head, bits }: { lanes: number; head: number; bits: number },
): Block[] {
  const { ownsKeys, bytes } = matrixKernels[kernel] as MatrixKernel;
  const { M, N, K } = config;
  const wide = 16 * Math.ceil(head / 16);
  if (head % 4 !== 0 || head > LARGEST_HEAD) return [];
  const part = bitsOf(config);
  const shared = { Part: part, Element: bits, SM: M, SN: N, SK: K, LANES: lanes, HEAD: head };
  return QUERIES.flatMap((queries) =>
    WORKGROUPS.flatMap((WG) => {
      // The rows of matrices of a product are dealt out evenly to the workgroup's subgroups.
      const even = (rows: number) => rows % M === 0 && (WG / lanes) % (rows / M) === 0;
      const shares = WG / queries;
      if (WG % lanes !== 0 || !SHARES.includes(shares) || lanes % shares !== 0 || !even(queries)) return [];
      return KEYS.filter((keys) => !ownsKeys || (even(keys) && 2 * keys * wide <= MOST_SUMS * WG)).map(
        (keys) => ({
          queries,
          keys,
          bytes: bytes({ part: part / 8, wide, queries, keys }),
          tune: { ...shared, QUERIES: queries, KEYS: keys, WG },
        }),
      );
    }),
  );
}

// Fitted to times on one NVIDIA H100, which test/attention_matrices.test.ts has.
// The cost of beginning a block, in rows of the block.
const ROWS_TO_BEGIN = 16;
// Bytes of workgroup memory with which a block costs twice as much as without: fewer workgroups then run side by side.
const BYTES_OF_A_GROUP = 16000;
// Of a block of 256 invocations, relative to one of 128.
const COST_OF_MANY = 0.95;

/** The block that costs least: wasted rows of a last block, beginning many small ones, and memory that keeps others waiting. */
function cheapest(blocks: readonly Block[], N: number): Block | undefined {
  const along = (rows: number) => Math.ceil(N / rows) * (rows + ROWS_TO_BEGIN);
  const cost = ({ queries, keys, bytes, tune }: Block) =>
    along(queries) * along(keys) * (bytes + BYTES_OF_A_GROUP) * (tune.WG === 256 ? COST_OF_MANY : 1);
  return blocks.toSorted((a, b) => cost(a) - cost(b))[0];
}

/** The blocks that fit into workgroup memory, grouped by configuration, the best configuration first. */
function fittingBlocks(kernel: string, adapter: AdapterInfo, sizes: AttentionSizes): Block[][] {
  const { lanes, workgroupBytes } = adapter;
  return usable(adapter, sizes.half)
    .map((config) => matrixBlocks(kernel, config, { lanes, ...sizes }))
    .map((blocks) => blocks.filter(({ bytes }) => bytes <= workgroupBytes))
    .filter(({ length }) => length > 0);
}

function matrixTuning(kernel: string, adapter: AdapterInfo, sizes: AttentionSizes): Tuning | null {
  const [blocks = []] = fittingBlocks(kernel, adapter, sizes);
  return cheapest(blocks, sizes.N)?.tune ?? null;
}

/**
 * Rows that a lane owns at most: more share their broadcasts among more rows, but take longer to compile. Vectors of 16 lanes
 * come with 32 registers (AVX-512), others with 16.
 */
const mostRows = (lanes: number): number => (lanes === 16 ? 5 : 3);

/** Rows a lane, so that few of a subgroup's rows are beyond N; a broadcast costs about half a multiply-add of a row. */
function rowsOfLane(N: number, lanes: number): number {
  const cost = (rows: number) => Math.ceil(N / (lanes * rows)) * (rows + 0.5);
  const most = mostRows(lanes);
  const all = Array.from({ length: most }, (_, i) => most - i);
  return all.toSorted((a, b) => cost(a) - cost(b))[0] as number;
}

function textureTuning(adapter: AdapterInfo, { B, N, H, head, bits }: AttentionSizes): Tuning | null {
  const lanes = softwareLanes(adapter);
  const fits = head % 4 === 0 && head <= 64 && B * N * 3 * H * head <= 4 * MAX_TEXELS;
  if (lanes === 0 || !fits || bits !== 32) return null;
  return { LANES: lanes, HEAD4: head / 4, ROWS: rowsOfLane(N, lanes), TILE: Math.min(8, lanes) };
}

/** Queries, or keys, that share the loads of their counterparts. With more, fewer invocations fit into the registers. */
const MOST_SHARED: Readonly<Record<string, number>> = { attention_key_backward_subgroup: 2 };

function subgroupTuning(
  kernel: string,
  { features, subgroupSizes, software }: AdapterInfo,
  { head, bits }: AttentionSizes,
): Tuning | null {
  const fits = head % 4 === 0 && head <= LARGEST_HEAD;
  if (!features.has('subgroups') || subgroupSizes[0] < SHARE || !fits) return null;
  const rows = head > 64 ? 1 : (MOST_SHARED[kernel] ?? 3);
  return { HEAD4: head / 4, AT_ONCE: software ? 1 : 4, ROWS: software ? 1 : rows, Element: bits };
}

const knob = ({ half }: AttentionSizes) => (half ? 'halfAttention' : 'attention');

function family(
  name: string,
  sources: { matrices: string; texture: string; subgroup: string; plain: string },
): Family<AttentionSizes> {
  const matrices = defineKernel(`${name}_subgroup_matrix`, sources.matrices);
  const subgroup = defineKernel(`${name}_subgroup`, sources.subgroup);
  return {
    name,
    knob,
    variants: [
      {
        kind: 'subgroup_matrix',
        kernel: matrices,
        tune: (adapter, sizes) => matrixTuning(matrices.name, adapter, sizes),
      },
      { kind: 'texture', kernel: defineKernel(`${name}_texture`, sources.texture), tune: textureTuning },
      {
        kind: 'subgroup',
        kernel: subgroup,
        tune: (adapter, sizes) => subgroupTuning(subgroup.name, adapter, sizes),
        wanted: ({ software, knobs }, sizes) => !software || knobs[knob(sizes)] === 'subgroup',
      },
      {
        kind: 'plain',
        kernel: defineKernel(name, sources.plain),
        tune: (_, { head, bits }) => ({ HEAD: head, Element: bits }),
      },
    ],
  };
}

/** qkv -> o, lse. */
export const forwards = family('attention_forward', {
  matrices: forwardMatrices,
  texture: forwardTexture,
  subgroup: forwardSubgroup,
  plain: forward,
});
/** qkv, o, dout, lse -> delta, the queries' part of dqkv. */
export const queryBackwards = family('attention_query_backward', {
  matrices: queryBackwardMatrices,
  texture: queryBackwardTexture,
  subgroup: queryBackwardSubgroup,
  plain: queryBackward,
});
/** qkv, dout, lse, delta -> the keys' and the values' parts of dqkv. */
export const keyBackwards = family('attention_key_backward', {
  matrices: keyBackwardMatrices,
  texture: keyBackwardTexture,
  subgroup: keyBackwardSubgroup,
  plain: keyBackward,
});

/** Every kernel that this adapter can run, by matrices with every block of the best configuration and one of each other: for checks. */
export function everyChoice(
  { variants }: Family<AttentionSizes>,
  adapter: AdapterInfo,
  sizes: AttentionSizes,
): Choice[] {
  return variants.flatMap(({ kernel, tune }) => {
    const own = tune(adapter, sizes);
    if (!own) return [];
    if (!(kernel.name in matrixKernels)) return [{ kernel, tune: own }];
    const [best = [], ...others] = fittingBlocks(kernel.name, adapter, sizes);
    const blocks = [...best, ...others.flatMap((all) => cheapest(all, sizes.N) ?? [])];
    return blocks.map((block) => ({ kernel, tune: block.tune }));
  });
}

/** Queries, or keys where they own the workgroups, that a workgroup of the chosen kernel computes. */
export function rowsOf({ kernel, tune }: Choice): number {
  if (kernel.name.endsWith('_subgroup')) return ((tune.ROWS as number) * ROW_WG) / SHARE;
  const block = matrixKernels[kernel.name]?.ownsKeys ? tune.KEYS : tune.QUERIES;
  if (block !== undefined) return block;
  return tune.LANES ? tune.LANES * (tune.ROWS ?? 1) : ROW_WG;
}
