/**
 * Every op of the registry, every sample, every kernel variant that the adapter can run: forward against the float64
 * reference, backward against central differences of that reference, guard bands, exact repeats, accumulation, memory.
 */
import { given } from '../autograd/inputs.js';
import type { AnyOp, AnySample } from '../autograd/op.js';
import { roundToHalf } from '../core/half.js';
import type { Gpu } from '../gpu/gpu.js';
import { type Expectation, expectation, largest, prepare } from './expectation.js';
import { compute, GUARD, type Result } from './run.js';
import { digest, HALF_EPSILON, normals, worst } from './values.js';

/** The result of checking one sample by one variant. */
export interface Finding {
  /** `chosen`, or the name of a kernel that ran instead of the chosen one. */
  readonly variant: string;
  /** The largest error of the forward pass, over what rounding allows. */
  readonly worst: number;
  /** A checksum of the outputs, to compare two devices or versions to the bit. */
  readonly digest: string;
  /** A sentence for each thing that is wrong. */
  readonly problems: readonly string[];
}

/** Checks one sample of an op by each variant; with `half`, in mixed precision and with tensors of f16. */
export async function checkSample(gpu: Gpu, op: AnyOp, sample: AnySample, half = false): Promise<Finding[]> {
  gpu.diagnostics.slackBytes = 4 * GUARD;
  const test = prepare(op, sample, half);
  const dy = normals(op.shape(test.shapes, sample.attrs), 3).map((v) => (half ? roundToHalf(v) : v));
  const expected = expectation(test, dy);
  return everyVariant(gpu, async (variant) => {
    const first = await compute(gpu, test, dy);
    const problems = [...first.problems];
    const found = compare(first, expected, { half, problems });
    for (const [name, gradient] of given(first.gradients)) {
      const doubled = first.doubled[name] as Float32Array;
      const allows = roundingOf(gpu, {
        narrow: half && op.halves?.includes(name),
        values: expected.slopes[name]?.values,
      });
      const at = doubled.findIndex((v, k) => !allows(v, 2 * (gradient[k] as number)));
      if (at !== -1)
        problems.push(
          `adding to the gradient of ${name} at ${at}: ${doubled[at]} for ${2 * (gradient[at] as number)}`,
        );
    }
    const live = gpu.pool.liveBytes;
    const second = await compute(gpu, test, dy);
    const [results, repeated] = [arrays(first), arrays(second)];
    if (!results.every((result, i) => same(result, repeated[i])))
      problems.push('a second run differs from the first');
    if (gpu.pool.liveBytes !== live) problems.push(`${gpu.pool.liveBytes - live} bytes were not released`);
    return { variant, worst: found, digest: digest(results), problems };
  });
}

/** Runs `body` with the adapter's own choice of kernels, then with every other variant that can run the case. */
export async function everyVariant<T>(gpu: Gpu, body: (variant: string) => Promise<T>): Promise<T[]> {
  gpu.diagnostics.preferences.clear();
  gpu.diagnostics.picked.clear();
  const results = [await body('chosen')];
  for (const { family, kernel } of [...gpu.diagnostics.picked.values()])
    for (const variant of family.variants) {
      if (variant.kernel.name === kernel) continue;
      gpu.diagnostics.preferences.set(family.name, variant.kernel.name);
      results.push(await body(variant.kernel.name));
      gpu.diagnostics.preferences.clear();
    }
  return results;
}

// A GPU's compiler may fuse other multiply-adds in the pipeline that adds to a gradient than in the one that writes it.
const FUSED = 1e-6;

/** If `v` may stand for `w`, twice a gradient whose elements are of the size of `values`, after the gradient was added. */
function roundingOf(
  { info }: Gpu,
  { narrow = false, values = [] }: { narrow?: boolean | undefined; values?: Iterable<number> | undefined },
): (v: number, w: number) => boolean {
  // The second gradient is added before it is rounded to f16.
  if (narrow) return (v, w) => near(v, w, 4 * HALF_EPSILON);
  const most = info.software ? 0 : FUSED * Math.max(1, largest(values));
  return (v, w) => near(v, w, 0) || Math.abs(v - w) <= most;
}

const arrays = ({ y, gradients, doubled }: Result): Float32Array[] =>
  [{ y }, gradients, doubled].flatMap((some) => given(some).map(([, array]) => array));

/** Equal to the bit, but that a NaN equals any NaN; or within a fraction. */
const near = (v: number, w: number, within: number): boolean =>
  Object.is(v, w) || Math.abs(v - w) < within * Math.abs(w);

const same = (a: Float32Array, b: Float32Array | undefined): boolean =>
  a.length === b?.length && a.every((v, k) => near(v, b[k] as number, 0));

/** Adds to `problems`; returns the forward pass's largest error over its tolerance. */
function compare(
  { y, gradients }: Result,
  expected: Expectation,
  { half, problems }: { half: boolean; problems: string[] },
): number {
  const [atol, rtol] = half ? [4 * HALF_EPSILON, 4 * HALF_EPSILON] : [1e-5, 1e-4];
  const along = half ? HALF_EPSILON : 1e-5;
  const { ratio, at } = worst(y, expected.y, expected.tolerance);
  if (!(ratio <= 1))
    problems.push(`forward at ${at}: ${y[at]} for ${expected.y[at]}, ${ratio} times the tolerance`);
  for (const [name, { picks, values, signs, slope }] of given(expected.slopes)) {
    const gradient = gradients[name] as Float32Array;
    const scale = Math.max(1, largest(values));
    const actual = picks.map((k) => gradient[k] as number);
    const found = worst(actual, values, (i) => atol * scale + rtol * Math.abs(values[i] as number));
    if (!(found.ratio <= 1))
      problems.push(
        `gradient of ${name} at ${picks[found.at]}: ${actual[found.at]} for ${values[found.at]}, ${found.ratio} times the tolerance`,
      );
    // All elements at once, those that were not picked among them.
    let sum = 0;
    let size = 0;
    gradient.forEach((g, i) => {
      sum += g * (signs[i] as number);
      size += Math.abs(g);
    });
    if (!(Math.abs(sum - slope) <= along * (scale + size)))
      problems.push(`gradient of ${name} along a direction: ${sum} for ${slope}`);
  }
  return ratio;
}
