/** The three passes of attention, each by itself, by every kernel and block that the adapter can run, in float32 and f16. */
import { autocast } from '../autograd/autocast.js';
import { toHalfBits } from '../core/half.js';
import { numel, type Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Choice, Family } from '../gpu/tuning.js';
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
import { normals, worst } from './values.js';

export interface AttentionTrial {
  readonly B: number;
  readonly N: number;
  readonly H: number;
  readonly head: number;
  readonly rate?: number;
  /** In mixed precision: what is multiplied may be rounded to f16. */
  readonly half?: boolean;
  /** qkv, the output and their gradients are of 16 bits. */
  readonly f16?: boolean;
}

/** Fewer tokens than any block has, one more than blocks have, and several blocks; heads that fill their rows and that do not. */
export const attentionTrials: readonly AttentionTrial[] = [
  { B: 1, N: 7, H: 1, head: 4 },
  { B: 1, N: 33, H: 2, head: 12 },
  { B: 2, N: 65, H: 2, head: 64, rate: 0.3 },
  { B: 1, N: 197, H: 1, head: 48 },
  { B: 1, N: 40, H: 1, head: 128, rate: 0.5 },
].flatMap((trial) => [trial, { ...trial, half: true }, { ...trial, half: true, f16: true }]);

export const describeAttention = ({ B, N, H, head, ...rest }: AttentionTrial): string =>
  [`(${B}, ${N}, 3, ${H}, ${head})`, ...Object.entries(rest).map(([k, v]) => (v === true ? k : `${k} ${v}`))].join(' '); // biome-ignore format: one line

/** The trial as the choice of a kernel sees it. */
export const attentionSizes = (trial: AttentionTrial): AttentionSizes => ({
  ...trial,
  bits: trial.f16 ? 16 : 32,
  half: trial.half === true,
});

const STREAM = 20;
const KEY = new Uint32Array([7, 3]);

interface Kind {
  readonly family: Family<AttentionSizes>;
  /** What is written, by the kernels' names, of which f32 is f32 whatever qkv is. */
  readonly writes: readonly ('o' | 'dqkv' | 'lse' | 'delta')[];
}
const PASSES: Readonly<Record<Pass, Kind>> = {
  forward: { family: forwards, writes: ['o', 'lse'] },
  query: { family: queryBackwards, writes: ['delta', 'dqkv'] },
  key: { family: keyBackwards, writes: ['dqkv'] },
};
const PASS_NAMES = ['forward', 'query', 'key'] as const;
const ALWAYS_F32 = ['lse', 'delta'];

/** Runs the passes of a trial, each by every choice that there is for it, or by those that `choices` gives. */
export async function checkAttention(
  gpu: Gpu,
  trial: AttentionTrial,
  choices = (family: Family<AttentionSizes>): readonly Choice[] =>
    everyChoice(family, gpu.info, attentionSizes(trial)),
): Promise<Finding[]> {
  gpu.slackBytes = 4 * GUARD;
  const { inputs, expected } = setting(gpu, trial);
  const findings: Finding[] = [];
  for (const pass of PASS_NAMES)
    for (const choice of choices(PASSES[pass].family)) {
      const results = expected[choice.tune.Part === 16 ? 16 : 32][pass];
      findings.push(await run(trial, { pass, choice, inputs, results }));
    }
  for (const tensor of Object.values(inputs)) tensor.release();
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

/** What the kernels read, and what they should write by the bits of what they multiply. */
function setting(
  gpu: Gpu,
  trial: AttentionTrial,
): { inputs: AttentionOperands; expected: Readonly<Record<16 | 32, Results>> } {
  const { f16 = false, rate = 0 } = trial;
  const size = { ...trial, rate, stream: STREAM, bits: f16 ? 16 : 32 } as const;
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
  const inputs = {
    key: Tensor.from(gpu, KEY),
    qkv: filled(gpu, shapes.qkv, values.qkv, f16),
    dout: filled(gpu, shapes.dout, values.dout, f16),
    o: filled(gpu, shapes.o, given.o, f16),
    lse: filled(gpu, shapes.lse, given.lse, false),
    delta: filled(gpu, shapes.delta, expected[32].query.delta!.value, false),
  };
  return { inputs, expected };
}

function filled(gpu: Gpu, shape: Shape, values: ArrayLike<number>, f16: boolean): Tensor {
  if (!f16) return Tensor.from(gpu, Float32Array.from(values), shape);
  const tensor = Tensor.empty(gpu, shape, 'f16');
  const words = new Uint16Array(2 * Math.ceil(numel(shape) / 2));
  words.set(Array.from(values, toHalfBits));
  tensor.upload(new Uint8Array(words.buffer));
  return tensor;
}

interface Plan {
  readonly pass: Pass;
  readonly choice: Choice;
  readonly inputs: AttentionOperands;
  readonly results: Readonly<Record<string, Bounded>>;
}

async function run(trial: AttentionTrial, { pass, choice, inputs, results }: Plan): Promise<Finding> {
  const { family, writes } = PASSES[pass];
  const shapes = shapesOf(trial);
  const outputs = writes.map((name) => {
    const f16 = trial.f16 && !ALWAYS_F32.includes(name);
    const it = guarded(inputs.qkv.gpu, shapes[name], f16 ? 'f16' : 'f32');
    it.tensor.upload(new Uint8Array(it.tensor.bytes)); // no pass writes all of dqkv
    return [name, it] as const;
  });
  const operands = { ...inputs, ...Object.fromEntries(outputs.map(([name, { tensor }]) => [name, tensor])) };
  const attrs = { heads: trial.H, rate: trial.rate ?? 0, stream: STREAM };
  const dispatch = () => runAttention(family, operands, attrs, choice);
  if (trial.half) autocast(dispatch);
  else dispatch();
  const found = await compare(outputs, results);
  for (const [, { whole, tensor }] of outputs) for (const it of [whole, tensor]) it.release();
  return { variant: nameOf(choice), ...found };
}

async function compare(
  outputs: readonly (readonly [string, Guarded])[],
  expected: Readonly<Record<string, Bounded>>,
): Promise<Omit<Finding, 'variant'>> {
  const problems: string[] = [];
  let most = 0;
  for (const [name, it] of outputs) {
    const { value, tolerance } = expected[name] as Bounded;
    const actual = await readGuarded(it, problems);
    const { ratio, at } = worst(actual, value, (i) => tolerance[i] as number);
    most = Math.max(most, ratio);
    const says = `${name} at ${at}: ${actual[at]} for ${value[at]}, ${ratio} times the tolerance`;
    if (!(ratio <= 1)) problems.push(says);
  }
  return { worst: most, problems };
}

/** `attention_forward_subgroup_matrix f16 16x16x16 QUERIES=32 KEYS=80` */
const nameOf = ({ kernel, tune: { Part, SM, SN, SK, QUERIES, KEYS } }: Choice): string =>
  Part ? `${kernel.name} f${Part} ${SM}x${SN}x${SK} QUERIES=${QUERIES} KEYS=${KEYS}` : kernel.name;
