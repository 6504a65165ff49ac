/** What an op's float64 reference says of a sample: values, and slopes by central differences. */
import type { Op, Sample } from '../autograd/op.js';
import { roundToHalf } from '../core/half.js';
import { Counter } from '../core/rng.js';
import type { Shape } from '../core/shape.js';
import { EPSILON, HALF_EPSILON, toFloat64, valuesFor } from './values.js';

export type AnyOp = Op<unknown>;
export interface Case {
  readonly op: AnyOp;
  readonly sample: Sample<unknown>;
  readonly values: ReturnType<typeof valuesFor>[];
  readonly shapes: Shape[];
  /** In mixed precision: inputs that may be, and the result, are of f16. */
  readonly half: boolean;
}

/** Whether an op reads or gives f16. */
export const worksInHalf = (op: AnyOp): boolean => op.halves !== undefined || op.dtype !== undefined;

/** With `half`, values are those of f16, so that what is read is exact. */
export function prepare(op: AnyOp, sample: Sample<unknown>, half = false): Case {
  const values = sample.inputs.map((input, i) => {
    const value = valuesFor(input, 17 + i);
    if (!half || !(value.data instanceof Float32Array)) return value;
    return { ...value, data: value.data.map(roundToHalf) };
  });
  const attrs = half ? { ...(sample.attrs as object), dtype: 'f16' } : sample.attrs;
  return { op, sample: { ...sample, attrs }, values, shapes: values.map(({ shape }) => shape), half };
}

/** f(x) = Σ dy · reference(x), in float64. */
function weighed(
  { op, sample, shapes }: Case,
  inputs: readonly Float64Array[],
  dy: ArrayLike<number>,
): number {
  const y = op.reference(inputs, shapes, sample.attrs);
  return y.reduce((sum, value, i) => sum + value * (dy[i] as number), 0);
}

export interface Expectation {
  readonly y: Float64Array;
  readonly tolerance: (i: number) => number;
  /** For each differentiable input: some partial derivatives, and the slope along a direction of signs. */
  readonly partials: ({ picks: number[]; values: number[]; signs: Float64Array; slope: number } | null)[];
}

export const largest = (values: Iterable<number>): number => {
  let most = 0;
  for (const v of values) most = Math.max(most, Math.abs(v));
  return most;
};

/** What the float64 reference says, by values and by central differences. */
export function expectation(test: Case, dy: Float32Array): Expectation {
  const { op, sample, shapes } = test;
  const inputs = test.values.map(({ data }) => toFloat64(data));
  const y = op.reference(inputs, shapes, sample.attrs);
  const { atol, rtol } = op.tolerance ?? { atol: 2e-6, rtol: 4e-6 };
  let tolerance = (i: number) => atol + rtol * Math.abs(y[i] as number);
  if (op.terms) {
    // |error| of a sum of products in any order is at most terms · ε · Σ|a||b|: this catches one wrong element.
    const bound = op.reference(
      inputs.map((x) => x.map(Math.abs)),
      shapes,
      sample.attrs,
    );
    const terms = op.terms(shapes, sample.attrs) + 2;
    tolerance = (i) => 2 * terms * EPSILON * Math.abs(bound[i] as number) + 1e-30;
  }
  if (test.half) {
    // The result is rounded once, and so may be what it is made of.
    const [exact, most] = [tolerance, largest(y)];
    tolerance = (i) => exact(i) + HALF_EPSILON * (Math.abs(y[i] as number) + most);
  }
  const cost = op.flops(shapes, sample.attrs) + y.length;
  const wanted = op.backward ? (op.differentiable ?? [...inputs.keys()]) : [];
  const partials = inputs.map((x, which) => {
    if (!wanted.includes(which)) return null;
    const slopeAlong = (direction: (i: number) => number) => {
      const h = 1e-5;
      const at = (sign: number) => {
        const moved = x.map((v, i) => v + sign * h * direction(i));
        return weighed(test, inputs.with(which, moved), dy);
      };
      return (at(1) - at(-1)) / (2 * h);
    };
    const picks = chosen(x.length, Math.max(24, Math.min(400, Math.floor(1e7 / cost))));
    const counter = new Counter(5 + which, 97);
    const signs = Float64Array.from(x, () => (counter.uniform() < 0.5 ? -1 : 1));
    const values = picks.map((k) => slopeAlong((i) => Number(i === k)));
    return { picks, values, signs, slope: slopeAlong((i) => signs[i] as number) };
  });
  return { y, tolerance, partials };
}

/** At most `count` of n indices: the ends and a spread between them. */
function chosen(n: number, count: number): number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  const counter = new Counter(n, 96);
  return [...new Set([0, 1, n - 2, n - 1, ...Array.from({ length: count - 4 }, () => counter.below(n))])];
}
