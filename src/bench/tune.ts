/** Measures the knobs of `src/gpu/tuning.ts` on this adapter: each candidate at the shapes of a ViT-Tiny step that fills it. */
import { autocast, productType } from '../autograd/autocast.js';
import { Tape } from '../autograd/tape.js';
import type { Command } from '../gpu/commands.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Knob, Knobs } from '../gpu/tuning.js';
import { columnSum } from '../ops/column_sum.js';
import { attention, layerNorm, linear } from '../ops/index.js';
import { keep } from '../tensor/scope.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { type Effort, median, timed } from './measure.js';

type Value = Knobs[Knob];

export interface TuneRow {
  readonly knob: Knob;
  readonly value: Value;
  /** Null if the time was over before every candidate was measured once; the knob keeps its value. */
  readonly ms: number | null;
  readonly chosen: boolean;
}

interface Tuning {
  /** True when no further measurement should begin. */
  readonly over: () => boolean;
  /** Called with the measurements of each knob. */
  readonly done: (rows: readonly TuneRow[]) => void;
  /** Images of the step whose shapes are measured: enough to fill the adapter, unless given. */
  readonly batch?: number;
}

interface Trial {
  readonly knob: Knob;
  /** Beside the present value. */
  readonly candidates: readonly Value[];
  readonly body: () => void;
}

// A candidate must beat the present value by this much: less is noise.
const MARGIN = 0.97;
const ROUNDS = 3;
// A candidate that takes this many times the best one's time is not measured further.
const HOPELESS = 2;

const leaf = (gpu: Gpu, shape: number[], dtype: DType = 'f32'): Tensor => {
  const tensor = keep(Tensor.zeros(gpu, shape, dtype));
  tensor.requiresGrad = true;
  tensor.grad = keep(Tensor.zeros(gpu, shape, dtype));
  return tensor;
};

function backward(forward: () => Tensor, gradient: Tensor): void {
  const tape = new Tape();
  tape.backward(tape.run(forward), { gradient });
}

/** The products of an MLP and attention, forward and backward, in float32 or in mixed precision. */
function blockOf(gpu: Gpu, batch: number, width: number) {
  const half = gpu.info.features.has('shader-f16');
  const weightOf = (shape: number[]) => {
    const weight = leaf(gpu, shape);
    if (half) weight.half = keep(Tensor.zeros(gpu, shape, 'f16'));
    return weight;
  };
  const activations = (dtype: DType) => {
    const [x, hidden, qkv] = [1, 4, 3].map((times) => leaf(gpu, [batch, 65, times * width], dtype));
    return { x, hidden, qkv } as Record<'x' | 'hidden' | 'qkv', Tensor>;
  };
  const types: readonly DType[] = half ? ['f32', 'f16'] : ['f32'];
  const of = new Map(types.map((dtype) => [dtype, activations(dtype)]));
  const [up, down] = [weightOf([4 * width, width]), weightOf([width, 4 * width])];
  const present = () => of.get(productType(gpu)) as ReturnType<typeof activations>;
  return {
    products: () => {
      const { x, hidden } = present();
      const { dtype } = x;
      backward(() => linear(x, up, undefined, { dtype }), hidden);
      backward(() => linear(hidden, down, undefined, { dtype }), x);
    },
    attend: () => {
      const { x, qkv } = present();
      backward(() => attention(qkv, width / 64), x);
    },
  };
}

/** All trials of this adapter, those first that matter most to a training step. */
function trials(gpu: Gpu, batch: number): Trial[] {
  const { software, features, subgroupMatrix } = gpu.info;
  const [C, classes] = [192, 10];
  const { products, attend } = blockOf(gpu, batch, C);
  const x = leaf(gpu, [batch, 65, C]);
  const weight = leaf(gpu, [C]);
  const bias = leaf(gpu, [C]);
  const pooled = leaf(gpu, [batch, C]);
  const head = leaf(gpu, [classes, C]);
  const dhead = keep(Tensor.zeros(gpu, [batch, classes]));
  const normalise = () => backward(() => layerNorm(x, weight, bias), x);
  const mixed = (body: () => void) => () => autocast(body);
  const growths = [-0.5, -0.25, 0, 0.25, 0.5];
  // The plain kernel of a product, without tiles, is never the fastest at these sizes.
  const ofProducts = ['subgroup_matrix', 'texture', 'tile'] as const;
  const ofAttention = ['subgroup_matrix', 'texture', 'subgroup', 'plain'] as const;
  const both = () => {
    products();
    attend();
  };
  const first: Trial[] = [
    { knob: 'products', candidates: ofProducts, body: products },
    { knob: 'productGroups', candidates: [64, 128, 256, 512, 1024], body: products },
    { knob: 'attention', candidates: ofAttention, body: attend },
    { knob: 'layerNorm', candidates: ['subgroup', 'plain'], body: normalise },
  ];
  // A software adapter has one tile, and its mixed precision only rounds.
  const ofGpus: Trial[] = [{ knob: 'tileGrowth', candidates: growths, body: products }];
  const ofHalves: Trial[] = [
    { knob: 'halfTensors', candidates: [0, 1], body: mixed(both) },
    { knob: 'halfProducts', candidates: ofProducts, body: mixed(products) },
    { knob: 'halfAttention', candidates: ofAttention, body: mixed(attend) },
  ];
  const half = features.has('shader-f16');
  const ofUnits: Trial[] = [
    { knob: 'matrixTileGrowth', candidates: growths, body: half ? mixed(products) : products },
  ];
  return [
    ...first,
    ...(software ? [] : ofGpus),
    ...(software || !half ? [] : ofHalves),
    ...(subgroupMatrix.length > 0 ? ofUnits : []),
    {
      knob: 'layerNormSubgroups',
      candidates: [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192],
      body: normalise,
    },
    {
      knob: 'columnChunks',
      candidates: [4, 8, 16, 32, 64, 128, 256],
      body: () => columnSum(x, bias, { rows: batch * 65, columns: C }),
    },
    {
      knob: 'plainProducts',
      candidates: [0, 2 ** 24],
      body: () => backward(() => linear(pooled, head), dhead),
    },
  ];
}

/** A text that is equal for candidates with the same kernels, constants, parameters and workgroups. */
const workOf = (commands: readonly Command[]): string =>
  commands
    .map((it) =>
      it.kind === 'dispatch'
        ? [it.compiled.id, ...it.groups, ...new Uint32Array(it.immediates ?? new ArrayBuffer(0))].join()
        : it.kind,
    )
    .join(' ');

/** The median milliseconds of every value that does work of its own; null if `over` before each was measured once. */
async function measure(
  gpu: Gpu,
  { knob, body }: Trial,
  values: readonly Value[],
  effort: Effort,
  over: () => boolean,
): Promise<ReadonlyMap<Value, number> | null> {
  const times = new Map<Value, number[]>();
  const best = () => Math.min(...[...times.values()].map(median));
  const time = (value: Value, goOn?: Parameters<typeof timed>[3]) => {
    Object.assign(gpu.info.knobs, { [knob]: value });
    return timed(gpu, body, effort, goOn);
  };
  const seen = new Set<string>();
  for (const value of values) {
    if (over()) return null;
    let twin = false;
    const ms = await time(value, ({ commands }, estimate) => {
      const work = workOf(commands);
      twin = seen.has(work);
      seen.add(work);
      return !twin && (estimate < effort.batchMs || estimate < HOPELESS * best());
    });
    if (!twin) times.set(value, [ms ?? 0]);
  }
  // Round by round, so that a slow moment of the machine falls on all candidates alike.
  const good = [...times].filter(([, [ms = 0]]) => ms < HOPELESS * best());
  for (let round = 1; round < ROUNDS && good.length > 1; round++)
    for (const [value, found] of good) if (!over()) found.push((await time(value)) ?? 0);
  return new Map([...times].map(([value, found]) => [value, median(found)]));
}

/**
 * Sets every knob to its best value on this device, until the time is over. A knob whose candidates all do the same work on this adapter is passed over.
 */
export async function tune(
  gpu: Gpu,
  effort: Effort,
  { over, done, batch = gpu.info.software ? 64 : 512 }: Tuning,
): Promise<void> {
  const { knobs } = gpu.info;
  for (const trial of trials(gpu, batch)) {
    const { knob, candidates } = trial;
    const present = knobs[knob];
    const set = (value: Value) => Object.assign(knobs, { [knob]: value });
    const values = [...new Set([present, ...candidates])];
    const found = await measure(gpu, trial, values, effort, over).finally(() => set(present));
    if (!found) done([{ knob, value: present, ms: null, chosen: true }]);
    if (!found || found.size === 1) continue;
    const ms = (value: Value) => found.get(value) as number;
    const best = [...found.keys()].reduce((a, b) => (ms(b) < ms(a) ? b : a));
    if (ms(best) < MARGIN * ms(present)) set(best);
    const shown = [...found.keys()].toSorted((a, b) => Number(a) - Number(b) || 0); // names keep their order
    done(shown.map((value) => ({ knob, value, ms: ms(value), chosen: value === knobs[knob] })));
  }
}
