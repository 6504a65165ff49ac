/**
 * The three passes of attention, each by itself, by every kernel and block that the adapter can run, in float32 and f16,
 * against float64. What is allowed is derived: f16 rounding of the weights and of ds where they are operands, rounding of sums,
 * scores and exponentials to float32, and rounding of what is stored. Operands are rounded in the reference too.
 */
import { autocast } from '../autograd/autocast.js';
import { roundToHalf, toHalfBits } from '../core/half.js';
import { numel, type Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Choice, Family } from '../gpu/tuning.js';
import { runAttention } from '../ops/attention.js';
import {
  type AttentionSizes,
  everyChoice,
  forwards,
  keyBackwards,
  queryBackwards,
} from '../ops/attention_kernels.js';
import { keepMask } from '../ops/dropout.js';
import { Tensor } from '../tensor/tensor.js';
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

const STREAM = 20;
const KEY = new Uint32Array([7, 3]);
const EPSILON = 2 ** -24;
/** The error of rounding x to so many bits is at most unit · |x| + least. */
const ROUNDING = {
  32: { round: Math.fround, unit: EPSILON, least: 1e-30 },
  16: { round: roundToHalf, unit: 2 ** -11, least: 2 ** -25 },
} as const;
type Bits = keyof typeof ROUNDING;

/** Values, and how far off each may be. */
interface Bounded {
  readonly value: Float64Array;
  readonly tolerance: Float64Array;
}
const bounded = (n: number): Bounded => ({
  value: new Float64Array(n),
  tolerance: new Float64Array(n).fill(1e-30),
});

type Numbers = ArrayLike<number>;
interface Values {
  readonly qkv: Numbers;
  readonly dout: Numbers;
  /** What the backward passes are given, as it is stored; the reference's own where absent. */
  readonly given?: { readonly o: Numbers; readonly lse: Numbers; readonly delta: Numbers };
}

type Pass = 'forward' | 'query' | 'key';
type Results = Readonly<Record<Pass, Readonly<Record<string, Bounded>>>>;

/** All that the passes write, where products take elements of `part` bits and results are stored in `bits`. */
function reference(trial: AttentionTrial, values: Values, part: Bits, bits: Bits): Results {
  const { B, N, H, head, rate = 0 } = trial;
  const { round, unit, least } = ROUNDING[part];
  const stored = ROUNDING[bits];
  const scale = 1 / Math.sqrt(head);
  const sums = 2 * (N + 8) * EPSILON;
  const dots = 2 * (head + 4) * EPSILON;
  const [o, dq, dkv] = [bounded(B * N * H * head), bounded(3 * B * N * H * head), bounded(3 * B * N * H * head)];
  const [lse, delta] = [bounded(B * H * N), bounded(B * H * N)];
  const qkv = Float64Array.from(values.qkv, round);
  const dout = Float64Array.from(values.dout, round);
  const add = ({ value, tolerance }: Bounded, at: number, x: number, error: number) => {
    value[at]! += x;
    tolerance[at]! += error;
  };
  const store = ({ value, tolerance }: Bounded, at: number) => {
    tolerance[at] = (tolerance[at] as number) * (1 + stored.unit) + stored.unit * Math.abs(value[at] as number) + stored.least;
  };
  /** Σ x[a + d] y[b + d], and Σ of the sizes. */
  const product = (x: Numbers, a: number, y: Numbers, b: number) => {
    let [sum, size] = [0, 0];
    for (let d = 0; d < head; d++) {
      const term = (x[a + d] as number) * (y[b + d] as number);
      sum += term;
      size += Math.abs(term);
    }
    return { sum, size };
  };

  for (let bh = 0; bh < B * H; bh++) {
    const at = (n: number, which: number) => (((Math.floor(bh / H) * N + n) * 3 + which) * H + (bh % H)) * head;
    const out = (n: number) => ((Math.floor(bh / H) * N + n) * H + (bh % H)) * head;
    for (let i = 0; i < N; i++) {
      const row = bh * N + i;
      const tokens = Array.from({ length: N }, (_, j) => j);
      const dotted = tokens.map((j) => product(qkv, at(i, 0), qkv, at(j, 1)));
      const scores = dotted.map(({ sum }) => scale * sum);
      const highest = Math.max(...scores);
      const log = highest + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - highest), 0));
      const keeps = tokens.map((j) => keepMask(Float64Array.from(KEY), { rate, stream: STREAM }, row * 4 * Math.ceil(N / 4) + j));
      // Of a score less the row's maximum or lse, and of its exponential: 3 + 2|x| units in the last place (WGSL, 15.7.4).
      const reach = Math.max(...scores.map((s) => Math.abs(s) + Math.abs(log)));
      const error = scale * dots * Math.max(...dotted.map(({ size }) => size)) + 2 * EPSILON * (4 + 3 * reach);

      add(lse, row, log, error + 4 * EPSILON * Math.abs(log) + 2 ** -20);
      tokens.forEach((j) => {
        const share = keeps[j]! * Math.exp(scores[j]! - log);
        for (let d = 0; d < head; d++) {
          const v = qkv[at(j, 2) + d] as number;
          add(o, out(i) + d, share * v, ((unit + 2 * error + sums) * share + least) * Math.abs(v));
        }
      });
      for (let d = 0; d < head; d++) store(o, out(i) + d);

      const own = product(values.dout, out(i), values.given?.o ?? o.value, out(i));
      add(delta, row, own.sum, dots * own.size);
      const total = values.given?.delta[row] ?? own.sum;
      tokens.forEach((j) => {
        const weight = Math.exp(scores[j]! - (values.given?.lse[row] ?? log));
        const share = keeps[j]! * weight;
        const dp = product(dout, out(i), qkv, at(j, 2));
        const ds = weight * (keeps[j]! * dp.sum - total);
        const size = keeps[j]! * dp.size + own.size;
        const dsError = (2 * error * Math.abs(ds) + weight * (dots + sums) * size) + (unit + sums) * Math.abs(ds) + least;
        for (let d = 0; d < head; d++) {
          const [q, k, g] = [qkv[at(i, 0) + d] as number, qkv[at(j, 1) + d] as number, dout[out(i) + d] as number];
          add(dq, at(i, 0) + d, scale * ds * k, scale * dsError * Math.abs(k));
          add(dkv, at(j, 1) + d, scale * ds * q, scale * dsError * Math.abs(q));
          add(dkv, at(j, 2) + d, share * g, ((unit + 2 * error + sums) * share + least) * Math.abs(g));
        }
      });
    }
    for (let n = 0; n < N; n++)
      for (let d = 0; d < head; d++) {
        store(dq, at(n, 0) + d);
        store(dkv, at(n, 1) + d);
        store(dkv, at(n, 2) + d);
      }
  }
  return { forward: { o, lse }, query: { delta, dqkv: dq }, key: { dqkv: dkv } };
} // biome-ignore format: bounds beside what they bound

/** What a pass writes, in its kernel's words; `Element` is the type of qkv. */
const PASSES: Readonly<Record<Pass, { family: Family<AttentionSizes>; writes: Readonly<Record<string, 'Element' | 'f32'>> }>> = {
  forward: { family: forwards, writes: { o: 'Element', lse: 'f32' } },
  query: { family: queryBackwards, writes: { delta: 'f32', dqkv: 'Element' } },
  key: { family: keyBackwards, writes: { dqkv: 'Element' } },
}; // biome-ignore format: one pass a line

export const attentionSizes = ({ rate: _, f16 = false, half = false, ...sizes }: AttentionTrial): AttentionSizes => ({
  ...sizes,
  bits: f16 ? 16 : 32,
  half,
}); // biome-ignore format: one line

/** Every choice of kernel and block for a pass. */
const everyOne = (gpu: Gpu, trial: AttentionTrial) => (family: Family<AttentionSizes>) =>
  everyChoice(family, gpu.info, attentionSizes(trial));

/** Runs the passes of a trial, each by every choice that `choices` has for it. */
export async function checkAttention(
  gpu: Gpu,
  trial: AttentionTrial,
  choices: (family: Family<AttentionSizes>) => readonly Choice[] = everyOne(gpu, trial),
): Promise<Finding[]> {
  gpu.slackBytes = 4 * GUARD;
  const { B, N, H, head, f16 = false } = trial;
  const bits = f16 ? 16 : 32;
  const { round } = ROUNDING[bits];
  const shapes = { qkv: [B, N, 3 * H * head], dqkv: [B, N, 3 * H * head], o: [B, N, H * head], dout: [B, N, H * head], lse: [B, H, N], delta: [B, H, N] }; // biome-ignore format: one line
  const values = { qkv: normals(shapes.qkv, 1).map(round), dout: normals(shapes.dout, 2).map(round) };
  const exact = reference(trial, values, 32, bits);
  const given = {
    o: exact.forward.o!.value.map(round),
    lse: exact.forward.lse!.value.map(Math.fround),
    delta: exact.query.delta!.value.map(Math.fround),
  };
  const byPart = { 32: reference(trial, { ...values, given }, 32, bits), 16: reference(trial, { ...values, given }, 16, bits) };
  const inputs: Record<string, Tensor> = {
    key: Tensor.from(gpu, KEY),
    qkv: filled(gpu, shapes.qkv, values.qkv, f16),
    dout: filled(gpu, shapes.dout, values.dout, f16),
    o: filled(gpu, shapes.o, given.o, f16),
    lse: filled(gpu, shapes.lse, given.lse, false),
    delta: filled(gpu, shapes.delta, given.delta, false),
  };
  const findings: Finding[] = [];
  for (const pass of ['forward', 'query', 'key'] as const) {
    const { family, writes } = PASSES[pass];
    for (const choice of choices(family)) {
      const outputs = Object.entries(writes).map(([name, type]) => {
        const shape = shapes[name as keyof typeof shapes];
        const it = guarded(gpu, shape, type === 'Element' && f16 ? 'f16' : 'f32');
        it.tensor.upload(new Uint8Array(4 * Math.ceil(it.tensor.bytes / 4))); // not all of dqkv is written by one pass
        return [name, it] as const;
      });
      const written = Object.fromEntries(outputs.map(([name, it]) => [name, it.tensor]));
      const operands = { ...inputs, ...written } as Record<string, Tensor> & { qkv: Tensor };
      const run = () => runAttention(family, operands, { heads: H, rate: trial.rate ?? 0, stream: STREAM }, choice);
      if (trial.half) autocast(run);
      else run();
      const part = choice.tune.Part === 16 ? 16 : 32;
      findings.push({ variant: nameOf(choice), ...(await compare(outputs, byPart[part][pass])) });
      for (const [, { whole, tensor }] of outputs) for (const it of [whole, tensor]) it.release();
    }
  }
  for (const tensor of Object.values(inputs)) tensor.release();
  return findings;
} // biome-ignore format: bounds beside what they bound

function filled(gpu: Gpu, shape: Shape, values: Numbers, f16: boolean): Tensor {
  if (!f16) return Tensor.from(gpu, Float32Array.from(values), shape);
  const tensor = Tensor.empty(gpu, shape, 'f16');
  const words = new Uint16Array(2 * Math.ceil(numel(shape) / 2));
  words.set(Array.from(values, toHalfBits));
  tensor.upload(new Uint8Array(words.buffer));
  return tensor;
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
    if (!(ratio <= 1)) problems.push(`${name} at ${at}: ${actual[at]} for ${value[at]}, ${ratio} times the tolerance`);
  } // biome-ignore format: a sentence on one line
  return { worst: most, problems };
}

/** `attention_forward_subgroup_matrix QUERIES=32 KEYS=80` */
const nameOf = ({ kernel, tune: { Part, QUERIES, KEYS } }: Choice): string =>
  Part ? `${kernel.name} f${Part} QUERIES=${QUERIES} KEYS=${KEYS}` : kernel.name;
