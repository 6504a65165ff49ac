/** Muon against the same algorithm in float64, the parameters that AdamW updates, and the kernels of Muon's products. */
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../src/core/errors.js';
import { softwareLanes } from '../src/gpu/variants.js';
import { zeros } from '../src/nn/init.js';
import { orthogonalize } from '../src/ops/muon.js';
import { makeStepState, writeStepState } from '../src/ops/step_state.js';
import { AdamW } from '../src/optim/adamw.js';
import { hiddenFirst, Muon, type MuonOptions, muonDefaults } from '../src/optim/muon.js';
import { Arena } from '../src/tensor/arena.js';
import { Parameter } from '../src/tensor/parameter.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, withGpu, worst } from './gpu.js';

const gpuOf = withGpu();

type Matrix = number[][];
const rowsOf = (flat: ArrayLike<number>, columns: number): Matrix =>
  Array.from({ length: flat.length / columns }, (_, r) =>
    Array.from({ length: columns }, (_, c) => flat[r * columns + c] as number),
  );
const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) => b[0]!.map((_, c) => row.reduce((sum, v, k) => sum + v * b[k]![c]!, 0)));
const transposed = (a: Matrix): Matrix => a[0]!.map((_, c) => a.map((row) => row[c]!));

/** The Newton-Schulz iteration as published, term by term, on the shorter side. */
function orthogonal(given: Matrix, steps: number): Matrix {
  const tall = given.length > given[0]!.length;
  const norm = Math.hypot(...given.flat());
  let x = (tall ? transposed(given) : given).map((row) => row.map((v) => v / Math.max(norm, 1e-7)));
  for (let step = 0; step < steps; step++) {
    const gram = product(x, transposed(x));
    const square = product(gram, gram);
    const inner = gram.map((row, i) => row.map((v, j) => -4.775 * v + 2.0315 * square[i]![j]!));
    const curved = product(inner, x);
    x = x.map((row, i) => row.map((v, j) => 3.4445 * v + curved[i]![j]!));
  }
  return tall ? transposed(x) : x;
}

const SHAPES = [
  [8, 8],
  [20, 8],
  [8, 20],
  [5, 7], // not divisible by four, for the kernels that take any shape
  [7, 3],
];

it.each(SHAPES)('orthogonalises %i x %i matrices, several at once', async (rows, columns) => {
  const given = normals([3, rows, columns], 5);
  given.fill(0, rows * columns, 2 * rows * columns); // one without any direction
  const result = scope(() => orthogonalize(Tensor.from(gpuOf(), given.slice(), [3, rows, columns]), 5));
  const actual = await result.toFloat32();
  for (const i of [0, 1, 2]) {
    const span = [i * rows * columns, (i + 1) * rows * columns] as const;
    const expected = orthogonal(rowsOf(given.subarray(...span), columns), 5).flat();
    const { ratio, at } = worst(actual.subarray(...span), expected, () => 2e-5);
    expect(ratio, `matrix ${i} at ${at}`).toBeLessThanOrEqual(1);
    // All singular values are near one, so the squared norm of the kernels' result is near their number.
    const square = actual.subarray(...span).reduce((sum, v) => sum + v * v, 0) / Math.min(rows, columns);
    if (i === 1) expect(square).toBe(0);
    else expect(square > 0.5 && square < 1.3, `mean squared singular value ${square}`).toBe(true);
  }
});

/** The matrices of two blocks, with q, k and v packed, and parameters for AdamW. */
function setup() {
  const shapes = { qkv: [24, 8], fc1: [20, 8], fc2: [8, 20], head: [5, 8], bias: [9] };
  const parameters = ['a', 'b'].flatMap((block) =>
    Object.entries(shapes).map(([name, shape]) => {
      const parameter = new Parameter(shape, zeros);
      parameter.name = `${block}.${name}`;
      return parameter;
    }),
  );
  const hidden = parameters
    .filter(({ name }) => /qkv|fc/.test(name))
    .map((parameter) => ({ parameter, parts: parameter.name.endsWith('qkv') ? 3 : 1 }));
  return { parameters, hidden };
}

const OPTIONS = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 };
const LR = 0.02;
const CLIP = 0.5;

describe('a step', () => {
  const decays = ({ shape }: Parameter) => shape.length === 2;
  const rateScale = ({ name }: Parameter) => (name.startsWith('a') ? 0.5 : 1);
  const gradientOf = ({ shape, name }: Parameter, step: number) =>
    normals(shape, 100 * step + name.charCodeAt(0) + name.charCodeAt(2));
  const startOf = ({ shape, name }: Parameter) =>
    normals(shape, name.charCodeAt(0) + name.charCodeAt(3), 0.1);

  it.each<[string, Partial<MuonOptions>]>([
    ['of torch.optim.Muon', {}],
    ['of torch.optim.Muon with other constants', { momentum: 0.6, steps: 3, rate: 2 }],
    ['of renormalised matrices', { norm: 'unit' }],
    ['of renormalised matrices with other constants', { norm: 'unit', momentum: 0.6, steps: 3, rate: 0.5 }],
  ])('%s is that of the float64 reference, and of AdamW for the rest', async (_, more) => {
    const { norm, momentum, steps, rate } = { ...muonDefaults, ...more };
    const unit = norm === 'unit';
    const gpu = gpuOf();
    const { parameters, hidden } = setup();
    const arena = new Arena(gpu, hiddenFirst(parameters, hidden), decays);
    const muon = new Muon(arena, hidden, { ...OPTIONS, ...more }, rateScale);
    const twins = setup().parameters;
    const other = new Arena(gpu, twins, decays);
    const adamw = new AdamW(other, OPTIONS, { rateScale });
    const state = makeStepState(gpu);
    const clip = Tensor.from(gpu, Float32Array.of(0, CLIP));
    arena.write(arena.values, startOf);
    other.write(other.values, startOf);
    const expected = new Map(
      hidden.map(({ parameter }) => [parameter.name, Float64Array.from(startOf(parameter))]),
    );
    const momenta = new Map(
      hidden.map(({ parameter }) => [parameter.name, new Float64Array(parameter.size)]),
    );
    for (let step = 0; step < 4; step++) {
      arena.write(arena.gradients, (parameter) => gradientOf(parameter, step));
      other.write(other.gradients, (parameter) => gradientOf(parameter, step));
      writeStepState(state, {
        ...{ seed: 0, step, slot: 0, lr: LR, emaDecay: 0 },
        ...muon.corrections(LR, step + 1),
      });
      muon.step(clip, state);
      adamw.step(clip, state);
      for (const { parameter, parts } of hidden) {
        const { name, shape } = parameter;
        const [weights, m] = [expected.get(name)!, momenta.get(name)!];
        const lr = rate * LR * rateScale(parameter);
        const [rows, columns] = [shape[0]! / parts, shape[1]!];
        const along = Float64Array.from(gradientOf(parameter, step), (g, i) => {
          m[i] = momentum * m[i]! + (1 - momentum) * CLIP * g;
          return (1 - momentum) * CLIP * g + momentum * m[i]!;
        });
        for (let at = 0; at < weights.length; at += rows * columns) {
          const update = orthogonal(rowsOf(along.subarray(at, at + rows * columns), columns), steps).flat();
          const length = Math.hypot(...weights.subarray(at, at + rows * columns));
          const kept = unit ? Math.sqrt(rows) / length : 1 - lr * OPTIONS.weightDecay;
          const factor = unit
            ? Math.sqrt(Math.max(1, rows / columns))
            : 0.2 * Math.sqrt(Math.max(rows, columns));
          for (const [i, u] of update.entries()) weights[at + i] = weights[at + i]! * kept - lr * factor * u;
        }
      }
    }
    const values = await arena.read(arena.values);
    const theirs = await other.read(other.values);
    const moved = await muon.state.momentum.layout.read(muon.momentum);
    for (const { name } of parameters) {
      if (!expected.has(name)) {
        expect(values.get(name), name).toEqual(theirs.get(name));
        continue;
      }
      const { ratio, at } = worst(values.get(name)!, expected.get(name)!, () => 2e-6);
      expect(ratio, `${name} at ${at}`).toBeLessThanOrEqual(1);
      expect(worst(moved.get(name)!, momenta.get(name)!, () => 1e-6).ratio, name).toBeLessThanOrEqual(1);
    }
    expect([...moved.keys()].sort()).toEqual([...expected.keys()].sort());
    const kept = muon.state.v.layout.slots.map(({ parameter }) => parameter.name).sort();
    expect(kept).toEqual(
      parameters
        .map(({ name }) => name)
        .filter((name) => !expected.has(name))
        .sort(),
    );
  });

  it.each(['rms', 'unit'] as const)(
    '%s leaves everything as it is where a gradient is not finite',
    async (norm) => {
      const gpu = gpuOf();
      const { parameters, hidden } = setup();
      const arena = new Arena(gpu, hiddenFirst(parameters, hidden), decays);
      const muon = new Muon(arena, hidden, { ...OPTIONS, norm });
      arena.write(arena.values, startOf);
      arena.write(arena.gradients, ({ size }) => new Float32Array(size).fill(Number.NaN));
      const state = makeStepState(gpu);
      writeStepState(state, {
        ...{ seed: 0, step: 0, slot: 0, lr: LR, emaDecay: 0 },
        ...muon.corrections(LR, 1),
      });
      muon.step(Tensor.from(gpu, Float32Array.of(Number.NaN, 0)), state);
      const values = await arena.read(arena.values);
      for (const parameter of parameters) expect(values.get(parameter.name)).toEqual(startOf(parameter));
      expect((await muon.momentum.toFloat32()).every((m) => m === 0)).toBe(true);
    },
  );

  it('multiplies on the fast path of a software adapter, matrices of one shape together', () => {
    const gpu = gpuOf();
    const { parameters, hidden } = setup();
    const arena = new Arena(gpu, hiddenFirst(parameters, hidden), decays);
    const muon = new Muon(arena, hidden, OPTIONS);
    const [clip, state] = [Tensor.zeros(gpu, [2]), makeStepState(gpu)];
    const { recording } = gpu.record(() => muon.step(clip, state));
    const kernels = recording.commands.flatMap((it) =>
      it.kind === 'dispatch' ? it.compiled.kernel.name : [],
    );
    const products = kernels.filter((name) => name.startsWith('matmul'));
    expect(products).toHaveLength(3 * 5 * 3); // three shapes, five iterations of three products
    if (softwareLanes(gpu.info) > 0) expect(new Set(products)).toEqual(new Set(['matmul_forward_texture']));
  });

  it('refuses to move nothing', () => {
    const { parameters } = setup();
    const arena = new Arena(gpuOf(), parameters, decays);
    expect(() => new Muon(arena, [], OPTIONS)).toThrow(ConfigError);
    expect(() => new Muon(arena, [], OPTIONS)).toThrow(/Muon .* weight matrix .* --optimizer adamw/);
  });

  it('needs its matrices at the front of the arena', () => {
    const { parameters, hidden } = setup();
    const wrong = [
      () => new Arena(gpuOf(), parameters, decays),
      () => new Arena(gpuOf(), parameters, () => false),
    ];
    for (const arena of wrong)
      expect(() => new Muon(arena(), hidden, OPTIONS)).toThrow(/at the front of the arena/);
  });
});
