/**
 * Every op of the registry, every sample, every kernel variant that the adapter can run: forward against the float64
 * reference, backward against central differences of that reference, guard bands, exact repeats, accumulation, memory.
 */
import { describe, expect, it } from 'vitest';
import { apply, type Op, type Sample } from '../src/autograd/op.js';
import { Tape } from '../src/autograd/tape.js';
import { Counter } from '../src/core/rng.js';
import { formatShape, numel, type Shape } from '../src/core/shape.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { ops } from '../src/ops/index.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, toFloat64, valuesFor, withGpu, worst } from './gpu.js';

const gpuOf = withGpu();

const GUARD = 1024; // floats on either side of every output and gradient
const CANARY = 0x7fc0dead; // a NaN no kernel computes
const EPSILON = 2 ** -24;

type AnyOp = Op<unknown>;
interface Case {
  readonly op: AnyOp;
  readonly sample: Sample<unknown>;
  readonly values: ReturnType<typeof valuesFor>[];
  readonly shapes: Shape[];
}

function prepare(op: AnyOp, sample: Sample<unknown>): Case {
  const values = sample.inputs.map((input, i) => valuesFor(input, 17 + i));
  return { op, sample, values, shapes: values.map(({ shape }) => shape) };
}

/** A tensor between guard bands. */
function guarded(gpu: Gpu, shape: Shape): { whole: Tensor; tensor: Tensor } {
  const padded = 4 * Math.ceil(numel(shape) / 4);
  const whole = Tensor.empty(gpu, [padded + 2 * GUARD]);
  gpu.upload(whole, new Uint32Array(padded + 2 * GUARD).fill(CANARY));
  return { whole, tensor: whole.view(shape, GUARD) };
}

async function readGuarded({ whole, tensor }: { whole: Tensor; tensor: Tensor }): Promise<Float32Array> {
  const bits = new Uint32Array(await tensor.gpu.read(whole));
  const end = GUARD + 4 * Math.ceil(tensor.size / 4);
  const stray = bits.findIndex((word, i) => (i < GUARD || i >= end) && word !== CANARY);
  expect(stray, `stray store ${stray - GUARD} floats from the start of ${tensor}`).toBe(-1);
  return new Float32Array(bits.buffer, 4 * GUARD, tensor.size);
}

interface Result {
  readonly y: Float32Array;
  readonly gradients: (Float32Array | null)[];
  readonly doubled: (Float32Array | null)[];
}

/** Forward once into guarded memory, then the tape: backward, and backward again on top of it. */
async function compute(
  gpu: Gpu,
  { op, sample, values }: Case,
  dy: Float32Array<ArrayBuffer>,
): Promise<Result> {
  const made: Tensor[] = [];
  const guards: ReturnType<typeof guarded>[] = [];
  const guard = (shape: Shape) => {
    const it = guarded(gpu, shape);
    guards.push(it);
    return it;
  };
  const inputs = values.map(({ data, shape }) => Tensor.from(gpu, data, shape));
  const out = guard(
    op.shape(
      values.map(({ shape }) => shape),
      sample.attrs,
    ),
  );
  made.push(...scope(() => op.forward(inputs, out.tensor, sample.attrs)));
  const y = (await readGuarded(out)).slice();

  const wanted = op.backward ? (op.differentiable ?? [...inputs.keys()]) : [];
  const targets = inputs.map((input, i) => (wanted.includes(i) ? guard(input.shape) : null));
  inputs.forEach((input, i) => {
    input.requiresGrad = targets[i] !== null;
    input.grad = targets[i]?.tensor ?? null;
  });
  const gradient = Tensor.from(gpu, dy, out.tensor.shape);
  const passes: (Float32Array | null)[][] = [];
  for (const accumulate of [false, true]) {
    if (wanted.length === 0) break;
    const tape = new Tape();
    const again = tape.run(() => apply(op, inputs, sample.attrs));
    tape.backward(again, { gradient, accumulate });
    again.release();
    passes.push(await Promise.all(targets.map(async (it) => it && (await readGuarded(it)).slice())));
  }
  for (const tensor of [...made, ...inputs, gradient, ...guards.flatMap((it) => [it.whole, it.tensor])])
    tensor.release();
  return { y, gradients: passes[0] ?? [], doubled: passes[1] ?? [] };
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

interface Expectation {
  readonly y: Float64Array;
  readonly tolerance: (i: number) => number;
  /** For each differentiable input: some partial derivatives, and the slope along a direction of signs. */
  readonly partials: ({ picks: number[]; values: number[]; signs: Float64Array; slope: number } | null)[];
}

/** What the float64 reference says, by values and by central differences. */
function expectation(test: Case, dy: Float32Array): Expectation {
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

function check({ y, gradients }: Result, expected: Expectation): void {
  const { ratio, at } = worst(y, expected.y, expected.tolerance);
  expect(ratio, `forward at ${at}: ${y[at]} for ${expected.y[at]}`).toBeLessThanOrEqual(1);
  gradients.forEach((gradient, which) => {
    const partial = expected.partials[which];
    if (!gradient || !partial) return;
    const { picks, values, signs, slope } = partial;
    const scale = values.reduce((most, v) => Math.max(most, Math.abs(v)), 1);
    const actual = picks.map((k) => gradient[k] as number);
    const found = worst(actual, values, (i) => 1e-5 * scale + 1e-4 * Math.abs(values[i] as number));
    const where = `gradient ${which} at ${picks[found.at]}: ${actual[found.at]} for ${values[found.at]}`;
    expect(found.ratio, where).toBeLessThanOrEqual(1);
    // The elements that were not picked, all at once.
    let sum = 0;
    let size = 0;
    gradient.forEach((g, i) => {
      sum += g * (signs[i] as number);
      size += Math.abs(g);
    });
    const along = `gradient ${which} along a direction: ${sum} for ${slope}`;
    expect(Math.abs(sum - slope), along).toBeLessThanOrEqual(1e-5 * scale + 1e-5 * size);
  });
}

/** At most `count` of n indices: the ends and a spread between them. */
function chosen(n: number, count: number): number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  const counter = new Counter(n, 96);
  return [...new Set([0, 1, n - 2, n - 1, ...Array.from({ length: count - 4 }, () => counter.below(n))])];
}

/** Runs `body` with the adapter's own choice of kernels, then with every other variant that can run the case. */
async function everyVariant(gpu: Gpu, body: (variant: string) => Promise<void>): Promise<void> {
  gpu.preferences.clear();
  gpu.picked.clear();
  await body('chosen');
  for (const { family, kernel } of [...gpu.picked.values()])
    for (const variant of family.variants) {
      if (variant.kernel.name === kernel) continue;
      gpu.preferences.set(family.name, variant.kernel.name);
      await body(variant.kernel.name);
      gpu.preferences.clear();
    }
}

const describeSample = ({ inputs, attrs }: Sample<unknown>): string => {
  const shapes = inputs.map((input) =>
    formatShape('u32' in input ? input.u32 : 'rows' in input ? input.rows : input),
  );
  return `${shapes.join(' ')} ${attrs ? JSON.stringify(attrs) : ''}`;
};

describe.each(ops.map((op) => [op.name, op as AnyOp] as const))('%s', (_, op) => {
  it.each(op.samples.map((sample) => [describeSample(sample), sample] as const))('%s', async (_, sample) => {
    const gpu = gpuOf();
    gpu.slackBytes = 4 * GUARD;
    const test = prepare(op, sample);
    const dy = normals(op.shape(test.shapes, sample.attrs), 3);
    const expected = expectation(test, dy);
    await everyVariant(gpu, async () => {
      const first = await compute(gpu, test, dy);
      check(first, expected);
      const twice = first.gradients.map((gradient) => gradient?.map((g) => g + g) ?? null);
      expect(first.doubled).toEqual(twice);
      const live = gpu.pool.liveBytes;
      const second = await compute(gpu, test, dy);
      expect(second).toEqual(first);
      expect(gpu.pool.liveBytes).toBe(live);
    });
  });

  it.each(op.errors.map((error) => [String(error.says), error] as const))(
    'refuses: %s',
    (_, { shapes, attrs, says }) => {
      expect(() => op.shape(shapes, attrs)).toThrow(says);
    },
  );
});

it('frees what a scope does not return', () => {
  const gpu = gpuOf();
  const live = gpu.pool.liveBytes;
  scope(() => {
    Tensor.zeros(gpu, [1000]);
  });
  expect(gpu.pool.liveBytes).toBe(live);
});
