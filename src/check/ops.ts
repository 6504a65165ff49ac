/**
 * Every op of the registry, every sample, every kernel variant that the adapter can run: forward against the float64
 * reference, backward against central differences of that reference, guard bands, exact repeats, accumulation, memory.
 */
import type { Sample } from '../autograd/op.js';
import type { Gpu } from '../gpu/gpu.js';
import { type AnyOp, type Expectation, expectation, prepare } from './expectation.js';
import { compute, GUARD, type Result } from './run.js';
import { normals, worst } from './values.js';

export interface Finding {
  /** `chosen`, or the kernel that was asked for instead. */
  readonly variant: string;
  /** The largest error of the forward pass, over what rounding allows. */
  readonly worst: number;
  /** What is wrong, a sentence each. */
  readonly problems: readonly string[];
}

/** One sample of an op, by each variant. */
export async function checkSample(gpu: Gpu, op: AnyOp, sample: Sample<unknown>): Promise<Finding[]> {
  gpu.slackBytes = 4 * GUARD;
  const test = prepare(op, sample);
  const dy = normals(op.shape(test.shapes, sample.attrs), 3);
  const expected = expectation(test, dy);
  return everyVariant(gpu, async (variant) => {
    const first = await compute(gpu, test, dy);
    const problems = [...first.problems];
    const found = compare(first, expected, problems);
    const twice = first.gradients.map((gradient) => gradient?.map((g) => g + g) ?? null);
    if (!same(first.doubled, twice)) problems.push('adding to gradients does not double them');
    const live = gpu.pool.liveBytes;
    const second = await compute(gpu, test, dy);
    const repeats = [first.y, ...first.gradients, ...first.doubled];
    if (!same(repeats, [second.y, ...second.gradients, ...second.doubled]))
      problems.push('a second run differs from the first');
    if (gpu.pool.liveBytes !== live) problems.push(`${gpu.pool.liveBytes - live} bytes were not released`);
    return { variant, worst: found, problems };
  });
}

/** Runs `body` with the adapter's own choice of kernels, then with every other variant that can run the case. */
export async function everyVariant<T>(gpu: Gpu, body: (variant: string) => Promise<T>): Promise<T[]> {
  gpu.preferences.clear();
  gpu.picked.clear();
  const results = [await body('chosen')];
  for (const { family, kernel } of [...gpu.picked.values()])
    for (const variant of family.variants) {
      if (variant.kernel.name === kernel) continue;
      gpu.preferences.set(family.name, variant.kernel.name);
      results.push(await body(variant.kernel.name));
      gpu.preferences.clear();
    }
  return results;
}

type Arrays = readonly (Float32Array | null)[];

/** Equal to the bit, but that a NaN equals any. */
const same = (a: Arrays, b: Arrays): boolean =>
  a.length === b.length && a.every((x, i) => x?.every((v, k) => Object.is(v, b[i]?.[k])) ?? b[i] === null);

/** Adds to `problems`; returns the forward pass's largest error over its tolerance. */
function compare({ y, gradients }: Result, expected: Expectation, problems: string[]): number {
  const { ratio, at } = worst(y, expected.y, expected.tolerance);
  if (!(ratio <= 1))
    problems.push(`forward at ${at}: ${y[at]} for ${expected.y[at]}, ${ratio} times the tolerance`);
  gradients.forEach((gradient, which) => {
    const partial = expected.partials[which];
    if (!gradient || !partial) return;
    const { picks, values, signs, slope } = partial;
    const scale = values.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
    const actual = picks.map((k) => gradient[k] as number);
    const found = worst(actual, values, (i) => 1e-5 * scale + 1e-4 * Math.abs(values[i] as number));
    if (!(found.ratio <= 1))
      problems.push(
        `gradient ${which} at ${picks[found.at]}: ${actual[found.at]} for ${values[found.at]}, ${found.ratio} times the tolerance`,
      );
    // The elements that were not picked, all at once.
    let sum = 0;
    let size = 0;
    gradient.forEach((g, i) => {
      sum += g * (signs[i] as number);
      size += Math.abs(g);
    });
    if (!(Math.abs(sum - slope) <= 1e-5 * scale + 1e-5 * size))
      problems.push(`gradient ${which} along a direction: ${sum} for ${slope}`);
  });
  return ratio;
}
