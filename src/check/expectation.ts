/** Expected values of a sample, from the op's float64 reference: the output, and slopes by central differences. */
import { hasGradient, type Inputs, mapInputs } from '../autograd/inputs.js';
import type { AnyOp, AnySample } from '../autograd/op.js';
import { roundToHalf } from '../core/half.js';
import { Counter } from '../core/rng.js';
import type { Shape } from '../core/shape.js';
import type { AdapterInfo } from '../gpu/device.js';
import { EPSILON, HALF_EPSILON, toFloat64, valuesFor } from './values.js';

export interface Case {
  readonly op: AnyOp;
  readonly attrs: object | undefined;
  readonly values: Inputs<ReturnType<typeof valuesFor>>;
  readonly shapes: Inputs<Shape>;
  /** In mixed precision: the result is f16, and so are inputs that may be. */
  readonly half: boolean;
}

/** True for an op that reads or writes f16. */
export const worksInHalf = (op: AnyOp): boolean => op.halves !== undefined || op.dtype !== undefined;

/** Why an adapter cannot run a check; null where it can. */
export const lacks = (
  { features }: Pick<AdapterInfo, 'features'>,
  { f16 }: { readonly f16: boolean },
): string | null => (f16 && !features.has('shader-f16') ? 'no shader-f16' : null);

/** Values for the inputs of a sample. With `half` they are rounded to f16, so that the kernels read them exactly. */
export function prepare(op: AnyOp, sample: AnySample, half = false): Case {
  const values = mapInputs(sample.inputs, (input, _, index) => {
    const value = valuesFor(input, 17 + index);
    if (!half || !(value.data instanceof Float32Array)) return value;
    return { ...value, data: value.data.map(roundToHalf) };
  });
  const attrs = half ? { ...sample.attrs, dtype: 'f16' } : sample.attrs;
  return { op, attrs, values, shapes: mapInputs(values, ({ shape }) => shape), half };
}

/** f(x) = Σ dy · reference(x), in float64. */
function weighed({ op, attrs, shapes }: Case, inputs: Inputs<Float64Array>, dy: ArrayLike<number>): number {
  const y = op.reference(inputs, shapes, attrs);
  return y.reduce((sum, value, i) => sum + value * (dy[i] as number), 0);
}

/** Some partial derivatives, at the indices `picks`, and the slope along a direction of signs. */
export interface Slopes {
  readonly picks: readonly number[];
  readonly values: readonly number[];
  readonly signs: Float64Array;
  readonly slope: number;
}

export interface Expectation {
  readonly y: Float64Array;
  readonly tolerance: (i: number) => number;
  /** For each differentiable input. */
  readonly slopes: Inputs<Slopes>;
}

export const largest = (values: Iterable<number>): number => {
  let most = 0;
  for (const v of values) most = Math.max(most, Math.abs(v));
  return most;
};

/** The output with its tolerance, and the slopes of Σ dy · y. */
export function expectation(test: Case, dy: Float32Array): Expectation {
  const { op, attrs, shapes } = test;
  const inputs = mapInputs(test.values, ({ data }) => toFloat64(data));
  const y = op.reference(inputs, shapes, attrs);
  const { atol, rtol } = op.tolerance ?? { atol: 2e-6, rtol: 4e-6 };
  let tolerance = (i: number) => atol + rtol * Math.abs(y[i] as number);
  if (op.terms) {
    // |error| of a sum of products in any order is at most terms · ε · Σ|a||b|: this catches one wrong element.
    const sizes = mapInputs(inputs, (x) => x.map(Math.abs));
    const bound = op.reference(sizes, shapes, attrs);
    const terms = op.terms(shapes, attrs) + 2;
    tolerance = (i) => 2 * terms * EPSILON * Math.abs(bound[i] as number) + 1e-30;
  }
  if (test.half) {
    // The result is rounded once, and so may be the values that it is made of.
    const [exact, most] = [tolerance, largest(y)];
    tolerance = (i) => exact(i) + HALF_EPSILON * (Math.abs(y[i] as number) + most);
  }
  const cost = op.flops(shapes, attrs) + y.length;
  const slopes = mapInputs(inputs, (x, name, index): Slopes | undefined => {
    if (!hasGradient(op, name)) return undefined;
    const slopeAlong = (direction: (i: number) => number) => {
      const h = 1e-5;
      const at = (sign: number) => {
        const moved = x.map((v, i) => v + sign * h * direction(i));
        return weighed(test, { ...inputs, [name]: moved }, dy);
      };
      return (at(1) - at(-1)) / (2 * h);
    };
    const picks = chosen(x.length, Math.max(24, Math.min(400, Math.floor(1e7 / cost))));
    const counter = new Counter(5 + index, 97);
    const signs = Float64Array.from(x, () => (counter.uniform() < 0.5 ? -1 : 1));
    const values = picks.map((k) => slopeAlong((i) => Number(i === k)));
    return { picks, values, signs, slope: slopeAlong((i) => signs[i] as number) };
  });
  return { y, tolerance, slopes };
}

/** At most `count` of n indices: the ends and a spread between them. */
function chosen(n: number, count: number): number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  const counter = new Counter(n, 96);
  return [...new Set([0, 1, n - 2, n - 1, ...Array.from({ length: count - 4 }, () => counter.below(n))])];
}
