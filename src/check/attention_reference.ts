/**
 * The three passes of attention in float64, with bounds on the errors of a kernel. The bounds are derived: f16 rounding of the
 * weights and of ds where they are operands, rounding of sums, scores and exponentials to float32, and rounding of stored results.
 * Operands are rounded here as the kernels round them.
 */
import { roundToHalf } from '../core/half.js';
import { keepMask } from '../ops/dropout.js';
import { EPSILON, HALF_EPSILON } from './values.js';

/** Rounding by number of bits; its error is at most unit · |x| + least. */
export const rounding = {
  32: { round: Math.fround, unit: EPSILON, least: 1e-30 },
  16: { round: roundToHalf, unit: HALF_EPSILON, least: 2 ** -25 },
} as const;
export type Bits = keyof typeof rounding;

/** Values, and the largest error of each. */
export interface Bounded {
  readonly value: Float64Array;
  readonly tolerance: Float64Array;
}

const bounded = (n: number): Bounded => ({
  value: new Float64Array(n),
  tolerance: new Float64Array(n).fill(1e-30),
});

function add({ value, tolerance }: Bounded, at: number, x: number, error: number): void {
  value[at]! += x;
  tolerance[at]! += error;
}

type Numbers = ArrayLike<number>;

export interface AttentionValues {
  /** (B, N, 3, H, head) */
  readonly qkv: Numbers;
  /** (B, N, H, head) */
  readonly dout: Numbers;
  /** Seed and step. */
  readonly key: Numbers;
  /** The stored results that the backward passes read; the reference's own results when absent. */
  readonly given?: { readonly o: Numbers; readonly lse: Numbers };
}

export interface AttentionCase {
  readonly B: number;
  readonly N: number;
  readonly H: number;
  readonly head: number;
  readonly rate: number;
  readonly stream: number;
  /** No token attends to itself. */
  readonly masked: boolean;
  /** Bits of an element of an operand; and of a stored element of qkv, the output and their gradients. */
  readonly part: Bits;
  readonly bits: Bits;
}

export type Pass = 'forward' | 'query' | 'key';
/** Results by their names in the kernels. The part of dqkv that a pass does not write is 0. */
export type Results = Readonly<Record<Pass, Readonly<Record<string, Bounded>>>>;

/** All results of the three passes. */
export function attentionReference(size: AttentionCase, values: AttentionValues): Results {
  const { B, N, H, head } = size;
  const [o, lse, delta] = [bounded(B * N * H * head), bounded(B * H * N), bounded(B * H * N)];
  const [dq, dkv] = [bounded(3 * B * N * H * head), bounded(3 * B * N * H * head)];
  const { round } = rounding[size.part];
  const operands = { qkv: Float64Array.from(values.qkv, round), dout: Float64Array.from(values.dout, round) };
  for (let row = 0; row < B * H * N; row++) addRow(size, values, operands, row, { o, lse, delta, dq, dkv });
  const stored = rounding[size.bits];
  for (const { value, tolerance } of [o, dq, dkv])
    value.forEach((x, i) => {
      tolerance[i] = (tolerance[i] as number) * (1 + stored.unit) + stored.unit * Math.abs(x);
      if (x !== 0) tolerance[i] = (tolerance[i] as number) + stored.least;
    });
  return { forward: { o, lse }, query: { delta, dqkv: dq }, key: { dqkv: dkv } };
}

type Sums = Readonly<Record<'o' | 'lse' | 'delta' | 'dq' | 'dkv', Bounded>>;

/** Adds the contributions of one query of a head and an image. */
function addRow(
  { N, H, head, rate, stream, masked, part }: AttentionCase,
  values: AttentionValues,
  { qkv, dout }: { qkv: Float64Array; dout: Float64Array },
  row: number,
  { o, lse, delta, dq, dkv }: Sums,
): void {
  const { unit, least } = rounding[part];
  const scale = 1 / Math.sqrt(head);
  const sums = 2 * (N + 8) * EPSILON;
  const dots = 2 * (head + 4) * EPSILON;
  const i = row % N;
  const h = Math.floor(row / N) % H;
  const image = Math.floor(row / N / H) * N;
  const at = (n: number, which: number) => (((image + n) * 3 + which) * H + h) * head;
  const out = ((image + i) * H + h) * head;
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
  const others = Array.from({ length: N }, (_, j) => j).filter((j) => !masked || j !== i);
  const keys = others.map((j) => {
    const { sum, size } = product(qkv, at(i, 0), qkv, at(j, 1));
    const keep = keepMask(Float64Array.from(values.key), { rate, stream }, row * 4 * Math.ceil(N / 4) + j);
    return { j, score: scale * sum, size: scale * size, keep };
  });
  const highest = Math.max(...keys.map(({ score }) => score));
  const log = highest + Math.log(keys.reduce((sum, { score }) => sum + Math.exp(score - highest), 0));
  // The error of an exponent and of its exponential: 3 + 2|x| units in the last place (WGSL, accuracy of built-in functions).
  const reach = Math.max(...keys.map(({ score }) => Math.abs(score))) + Math.abs(log);
  const error = dots * Math.max(...keys.map(({ size }) => size)) + 2 * EPSILON * (4 + 3 * reach);
  /** The error of a weight that is an operand, in a sum. */
  const weightError = (weight: number) => (unit + 2 * error + sums) * weight + least;

  add(lse, row, log, error + 4 * EPSILON * Math.abs(log) + 2 ** -20);
  for (const { j, score, keep } of keys) {
    const weight = keep * Math.exp(score - log);
    for (let d = 0; d < head; d++) {
      const v = qkv[at(j, 2) + d] as number;
      add(o, out + d, weight * v, weightError(weight) * Math.abs(v));
    }
  }

  const own = product(values.dout, out, values.given?.o ?? o.value, out);
  add(delta, row, own.sum, dots * own.size);
  for (const { j, score, keep } of keys) {
    const weight = Math.exp(score - (values.given?.lse[row] ?? log));
    const dp = product(dout, out, qkv, at(j, 2));
    const ds = weight * (keep * dp.sum - own.sum);
    const inside = 2 * error * Math.abs(ds) + weight * (dots + sums) * (keep * dp.size + own.size);
    const dsError = inside + (unit + sums) * Math.abs(ds) + least;
    for (let d = 0; d < head; d++) {
      const [q, k, g] = [qkv[at(i, 0) + d], qkv[at(j, 1) + d], dout[out + d]] as [number, number, number];
      add(dq, at(i, 0) + d, scale * ds * k, scale * dsError * Math.abs(k));
      add(dkv, at(j, 1) + d, scale * ds * q, scale * dsError * Math.abs(q));
      add(dkv, at(j, 2) + d, keep * weight * g, weightError(keep * weight) * Math.abs(g));
    }
  }
}
