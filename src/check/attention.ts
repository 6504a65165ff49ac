/** The three passes of attention, each by itself, by every kernel and block that the adapter can run, in float32 and f16. */
import { autocast } from '../autograd/autocast.js';
import { toHalves } from '../core/half.js';
import type { Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Choice, Family } from '../gpu/variants.js';
import { type AttentionOperands, runAttention } from '../ops/attention.js';
import {
  type AttentionSizes,
  everyChoice,
  forwards,
  keyBackwards,
  queryBackwards,
} from '../ops/attention_kernels.js';
import { Tensor } from '../tensor/tensor.js';
import {
  attentionReference,
  type Bounded,
  type Pass,
  type Results,
  rounding,
} from './attention_reference.js';
import type { Finding } from './ops.js';
import { GUARD, type Guarded, guarded, readGuarded } from './run.js';
import { digest, normals, worst } from './values.js';

export interface AttentionTrial {
  readonly B: number;
  readonly N: number;
  readonly H: number;
  readonly head: number;
  readonly rate?: number;
  /** No token attends to itself. */
  readonly masked?: boolean;
  /** Mixed precision: the multiplied elements may be rounded to f16. */
  readonly half?: boolean;
  /** qkv, the output and their gradients are f16. */
  readonly f16?: boolean;
}

/** Fewer tokens than any block has, one more than blocks have, and several blocks; heads that fill their rows and that do not. */
export const attentionTrials: readonly AttentionTrial[] = [
  { B: 1, N: 7, H: 1, head: 4 },
  { B: 1, N: 33, H: 2, head: 12 },
  { B: 2, N: 65, H: 2, head: 64, rate: 0.3 },
  { B: 1, N: 197, H: 1, head: 48 },
  { B: 1, N: 40, H: 1, head: 128, rate: 0.5 },
  { B: 2, N: 33, H: 2, head: 12, masked: true },
  { B: 1, N: 70, H: 1, head: 64, rate: 0.3, masked: true },
].flatMap((trial) => [trial, { ...trial, half: true }, { ...trial, half: true, f16: true }]);

export const describeAttention = ({ B, N, H, head, ...rest }: AttentionTrial): string =>
  [`(${B}, ${N}, 3, ${H}, ${head})`, ...Object.entries(rest).map(([k, v]) => (v === true ? k : `${k} ${v}`))].join(' '); // biome-ignore format: one line

/** The sizes of a trial, by which a kernel is chosen. */
export const attentionSizes = (trial: AttentionTrial): AttentionSizes => ({
  ...trial,
  bits: trial.f16 ? 16 : 32,
  half: trial.half === true,
});

const STREAM = 20;
const KEY = new Uint32Array([7, 3]);

interface Kind {
  readonly family: Family<AttentionSizes>;
  /** The written tensors, by their names in the kernels. */
  readonly writes: readonly ('o' | 'dqkv' | 'lse' | 'delta')[];
}
const PASSES: Readonly<Record<Pass, Kind>> = {
  forward: { family: forwards, writes: ['o', 'lse'] },
  query: { family: queryBackwards, writes: ['delta', 'dqkv'] },
  key: { family: keyBackwards, writes: ['dqkv'] },
};
const PASS_NAMES = ['forward', 'query', 'key'] as const;
/** Tensors that stay f32 where qkv is f16. */
const ALWAYS_F32 = ['lse', 'delta'];

/** Runs the passes of a trial, each by every kernel and block for it, or by those that `choices` returns. */
export async function checkAttention(
  gpu: Gpu,
  trial: AttentionTrial,
  choices = (family: Family<AttentionSizes>): readonly Choice[] =>
    everyChoice(family, gpu.info, attentionSizes(trial)),
): Promise<Finding[]> {
  gpu.diagnostics.slackBytes = 4 * GUARD;
  const { inputs, expected } = setting(gpu, trial);
  const key = Tensor.from(gpu, KEY);
  const findings: Finding[] = [];
  for (const pass of PASS_NAMES)
    for (const choice of choices(PASSES[pass].family)) {
      const results = expected[choice.tune.Part === 16 ? 16 : 32][pass];
      findings.push(await run(gpu, trial, { pass, choice, inputs: { ...tensors(inputs), key }, results }));
    }
  release(Object.values(inputs));
  key.release();
  return findings;
}

const shapesOf = ({ B, N, H, head }: AttentionTrial) => {
  const [qkv, o, rows] = [
    [B, N, 3 * H * head],
    [B, N, H * head],
    [B, H, N],
  ] as const;
  return { qkv, dqkv: qkv, o, dout: o, lse: rows, delta: rows };
};

/** The tensors that the kernels read, and the expected results by the bits of a multiplied element. */
function setting(
  gpu: Gpu,
  trial: AttentionTrial,
): { inputs: Readonly<Record<string, Guarded>>; expected: Readonly<Record<16 | 32, Results>> } {
  const { f16 = false, rate = 0, masked = false } = trial;
  const size = { ...trial, rate, masked, stream: STREAM, bits: f16 ? 16 : 32 } as const;
  const { round } = rounding[size.bits];
  const shapes = shapesOf(trial);
  const values = {
    qkv: normals(shapes.qkv, 1).map(round),
    dout: normals(shapes.dout, 2).map(round),
    key: KEY,
  };
  const { forward } = attentionReference({ ...size, part: 32 }, values);
  const given = { o: forward.o!.value.map(round), lse: forward.lse!.value.map(Math.fround) };
  const by = (part: 16 | 32) => attentionReference({ ...size, part }, { ...values, given });
  const expected = { 16: by(16), 32: by(32) };
  const dtype = f16 ? 'f16' : 'f32';
  const inputs = {
    qkv: filled(gpu, shapes.qkv, values.qkv, dtype),
    dout: filled(gpu, shapes.dout, values.dout, dtype),
    o: filled(gpu, shapes.o, given.o, dtype),
    lse: filled(gpu, shapes.lse, given.lse, 'f32'),
    delta: filled(gpu, shapes.delta, expected[32].query.delta!.value, 'f32'),
  };
  return { inputs, expected };
}

/** Values between guard bands of NaN, so that a read beyond the last token shows. */
function filled(gpu: Gpu, shape: Shape, values: ArrayLike<number>, dtype: 'f32' | 'f16'): Guarded {
  const it = guarded(gpu, shape, dtype);
  const exact = Float32Array.from(values);
  it.tensor.upload(dtype === 'f16' ? toHalves(exact) : exact);
  return it;
}

const release = (guards: readonly Guarded[]): void => {
  for (const it of guards.flatMap(({ whole, tensor }) => [whole, tensor])) it.release();
};

const tensors = (guards: Readonly<Record<string, Guarded>>): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(guards).map(([name, { tensor }]) => [name, tensor]));

interface Plan {
  readonly pass: Pass;
  readonly choice: Choice;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly results: Readonly<Record<string, Bounded>>;
}

async function run(gpu: Gpu, trial: AttentionTrial, plan: Plan): Promise<Finding> {
  const { pass, choice, inputs, results } = plan;
  const { family, writes } = PASSES[pass];
  const shapes = shapesOf(trial);
  const outputs = Object.fromEntries(
    writes.map((name) => {
      const it = guarded(gpu, shapes[name], trial.f16 && !ALWAYS_F32.includes(name) ? 'f16' : 'f32');
      it.tensor.upload(new Uint8Array(it.tensor.bytes)); // no pass writes all of dqkv
      return [name, it];
    }),
  );
  const operands = { ...inputs, ...tensors(outputs) } as AttentionOperands;
  const { H: heads, rate = 0, masked = false } = trial;
  const attrs = { heads, rate, stream: STREAM, masked };
  const dispatch = () => runAttention(family, operands, attrs, choice);
  if (trial.half) autocast(dispatch);
  else dispatch();
  const found = await compare(outputs, results);
  release(Object.values(outputs));
  return { variant: nameOf(choice), ...found };
}

async function compare(
  outputs: Readonly<Record<string, Guarded>>,
  expected: Readonly<Record<string, Bounded>>,
): Promise<Omit<Finding, 'variant'>> {
  const problems: string[] = [];
  let most = 0;
  const read: Float32Array[] = [];
  for (const [name, it] of Object.entries(outputs)) {
    const { value, tolerance } = expected[name] as Bounded;
    const actual = await readGuarded(it, problems);
    read.push(actual);
    const { ratio, at } = worst(actual, value, (i) => tolerance[i] as number);
    most = Math.max(most, ratio);
    const says = `${name} at ${at}: ${actual[at]} for ${value[at]}, ${ratio} times the tolerance`;
    if (!(ratio <= 1)) problems.push(says);
  }
  return { worst: most, digest: digest(read), problems };
}

/** `attention_forward_subgroup_matrix f16 16x16x16 QUERIES=32 KEYS=80` */
const nameOf = ({ kernel, tune: { Part, SM, SN, SK, QUERIES, KEYS } }: Choice): string =>
  Part ? `${kernel.name} f${Part} ${SM}x${SN}x${SK} QUERIES=${QUERIES} KEYS=${KEYS}` : kernel.name;
