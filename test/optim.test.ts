/** Against results of PyTorch: AdamW, clipping, averaging, learning rates; losses and ops with their gradients. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.js';
import { asFloat32, decodeSafetensors } from '../src/io/safetensors.js';
import { zeros } from '../src/nn/init.js';
import { attention, crossEntropy, gelu, layerNorm, softmax } from '../src/ops/index.js';
import { clipNorm } from '../src/ops/optimizer.js';
import { makeStepState, type StepValues, writeStepState } from '../src/ops/step_state.js';
import { AdamW } from '../src/optim/adamw.js';
import { Ema } from '../src/optim/ema.js';
import { learningRate } from '../src/optim/schedule.js';
import { Updates } from '../src/optim/updates.js';
import { Arena } from '../src/tensor/arena.js';
import { Parameter } from '../src/tensor/parameter.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withGpu, worst } from './gpu.js';

const gpuOf = withGpu();

const inReference = (name: string) => join(import.meta.dirname, 'reference', name);

function readReference(name: string) {
  const { tensors, metadata } = decodeSafetensors(name, readFileSync(inReference(name)));
  const values = (key: string) => new Float32Array(asFloat32(tensors.get(key)!));
  return {
    values,
    row(key: string, i: number) {
      const width = tensors.get(key)!.shape[1]!;
      return values(key).slice(i * width, (i + 1) * width);
    },
    tensor(key: string) {
      const { dtype, shape, bytes } = tensors.get(key)!;
      const data = dtype === 'I32' ? new Uint32Array(new Uint8Array(bytes).buffer) : values(key);
      return Tensor.from(gpuOf(), data, shape, key);
    },
    meta: (key: string) => JSON.parse(metadata[key] as string),
  };
}
const optim = readReference('optim.safetensors');
const losses = readReference('losses.safetensors');

/** Every |difference| is at most tolerance · (1 + |expected|). */
function near(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual.length, what).toBe(expected.length);
  const { ratio, at } = worst(actual, expected, (i) => tolerance * (1 + Math.abs(expected[i] as number)));
  expect(ratio, `${what} at ${at}: ${actual[at]} for ${expected[at]}`).toBeLessThanOrEqual(1);
}

function arenaOf(sizes: Record<string, number[]>): Arena {
  const parameters = Object.entries(sizes).map(([name, shape]) => {
    const parameter = new Parameter(shape, zeros);
    parameter.name = name;
    return parameter;
  });
  return new Arena(gpuOf(), parameters, () => true);
}

const stepOf = (values: Partial<StepValues>): StepValues => ({
  ...{ seed: 0, step: 0, slot: 0, lr: 0, stepSize: 0, rootC2: 1, emaDecay: 0 },
  ...values,
});

describe('AdamW', () => {
  const { lrs, weight_decay: weightDecay, ...constants } = optim.meta('adamw');

  it('takes the steps of torch.optim.AdamW', async () => {
    const arena = arenaOf({ p: [37] });
    const adamw = new AdamW(arena, { ...constants, weightDecay });
    const updates = new Updates(arena, adamw);
    arena.write(arena.values, () => optim.values('adamw.start'));
    for (const [i, lr] of lrs.entries()) {
      arena.write(arena.gradients, () => optim.row('adamw.grads', i));
      updates.update(lr);
      const norm = Math.hypot(...optim.row('adamw.grads', i));
      expect((await updates.gradientNorm()) / norm).toBeCloseTo(1, 6);
      for (const [tensor, key] of [
        [arena.values, 'params'],
        [adamw.m, 'exp_avg'],
        [adamw.v, 'exp_avg_sq'],
      ] as const)
        near(`${key} after step ${i}`, (await arena.read(tensor)).get('p')!, optim.row(`adamw.${key}`, i));
    }
    const padding = (await arena.values.toFloat32()).subarray(37);
    expect(padding.every((value) => value === 0)).toBe(true);
  });

  it('decays the front of the arena alone, and multiplies gradients by the clip', async () => {
    const gpu = gpuOf();
    const parameters = [new Parameter([3, 70], zeros), new Parameter([70], zeros)];
    const arena = new Arena(gpu, parameters, ({ shape }) => shape.length === 2);
    const adamw = new AdamW(arena, { beta1: 0.5, beta2: 0.5, eps: 1e-8, weightDecay: 0.5 });
    const state = makeStepState(gpu);
    const clip = Tensor.from(gpu, Float32Array.of(0, 0.25));
    writeStepState(state, stepOf({ lr: 0.5, ...adamw.corrections(0.5, 1) }));
    arena.write(arena.values, ({ size }) => new Float32Array(size).fill(2));
    adamw.step(clip, state);
    const [matrix, vector] = await Promise.all(parameters.map(({ tensor }) => tensor.toFloat32()));
    expect(matrix).toEqual(new Float32Array(210).fill(1.5)); // 2 − 0.5 · 0.5 · 2
    expect(vector).toEqual(new Float32Array(70).fill(2));
    arena.write(arena.gradients, ({ size }) => new Float32Array(size).fill(4));
    adamw.step(clip, state);
    expect((await adamw.m.toFloat32())[0]).toBe(0.5); // 0.5 · (0.25 · 4)
  });
});

describe('AdamW with eps 0', () => {
  /** Parameters after two steps of rate 0.01 from 1, and the whole arena's values, padding included. */
  async function after(eps: number, first: number[], second: number[]) {
    const arena = arenaOf({ p: [first.length] });
    const adamw = new AdamW(arena, { beta1: 0.9, beta2: 0.999, eps, weightDecay: 0 });
    const state = makeStepState(gpuOf());
    const clip = Tensor.from(gpuOf(), Float32Array.of(0, 1));
    arena.write(arena.values, ({ size }) => new Float32Array(size).fill(1));
    for (const [i, gradient] of [first, second].entries()) {
      arena.write(arena.gradients, () => Float32Array.from(gradient));
      writeStepState(state, stepOf({ lr: 0.01, ...adamw.corrections(0.01, i + 1) }));
      adamw.step(clip, state);
    }
    return { p: (await arena.read(arena.values)).get('p')!, all: await arena.values.toFloat32() };
  }

  it('leaves the padding at zero, and parameters where they are until they have a gradient', async () => {
    // The square of 1e-30 is 0 in float32, and so is the second moment.
    const { p, all } = await after(0, [0, 0, 3, -3, 1e-30, 2], [0, 5, 3, -3, 1e-30, 0]);
    expect([...p.subarray(0, 1), p[4]]).toEqual([1, 1]);
    expect(all.subarray(p.length).every((value) => Object.is(value, 0))).toBe(true);
    // In float64: lr / c1 · m / (√v / √c2).
    const root = (v: number) => Math.sqrt(v / (1 - 0.999 ** 2));
    const step = (m: number, v: number) => ((0.01 / (1 - 0.9 ** 2)) * m) / root(v);
    const expected = [
      1 - step(0.1 * 5, 0.001 * 25),
      0.98,
      1.02,
      0.99 - step(0.9 * 0.1 * 2, 0.999 * 0.001 * 4),
    ];
    near('parameters', [p[1]!, p[2]!, p[3]!, p[5]!], expected, 1e-6);
  });

  it('differs from a tiny eps nowhere else', async () => {
    const gradients = Array.from(optim.row('adamw.grads', 0), (g) => g || 1);
    const [without, tiny] = [await after(0, gradients, gradients), await after(1e-30, gradients, gradients)];
    expect(without.p).toEqual(tiny.p);
  });
});

describe('clipping', () => {
  const { max_norms, norms } = optim.meta('clip');
  const gradients = (values: (key: string) => Float32Array) => {
    const arena = arenaOf({ a: [7, 5], b: [11] });
    arena.write(arena.gradients, ({ name }) => values(name));
    return arena.gradients;
  };
  const clipOf = async (gradient: Tensor, maxNorm: number) => {
    const clip = Tensor.zeros(gpuOf(), [2]);
    clipNorm(gradient, clip, maxNorm);
    return clip.toFloat32();
  };

  it.each([...max_norms.entries()] as [number, number][])('case %i: to %d', async (i, maxNorm) => {
    const given = (key: string) => optim.values(`clip.${key}`);
    const [norm, coefficient] = await clipOf(gradients(given), maxNorm);
    near('norm', [norm!], [norms[i]]);
    for (const key of ['a', 'b'])
      near(
        key,
        given(key).map((g) => g * coefficient!),
        optim.values(`clip.${i}.${key}`),
      );
  });

  it.each([
    ['leaves all at max norm 0', 3, 0, 6 * Math.sqrt(46 / 4), 1],
    ['leaves zeros', 0, 1, 0, 1],
    ['drops infinite gradients', Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY, 0],
    ['drops gradients that are not numbers', Number.NaN, 1, Number.NaN, 0],
  ])('%s', async (_, value, maxNorm, norm, coefficient) => {
    const clip = await clipOf(
      gradients((name) => new Float32Array(name === 'a' ? 35 : 11).fill(value)),
      maxNorm,
    );
    expect(clip).toEqual(Float32Array.of(norm, coefficient));
  });
});

describe('the exponential moving average', () => {
  it('averages as lerp does', async () => {
    const arena = arenaOf({ w: [19] });
    const state = makeStepState(gpuOf());
    arena.write(arena.values, () => optim.values('ema.start'));
    const ema = new Ema(arena, optim.meta('ema').decay);
    writeStepState(state, stepOf({ emaDecay: optim.meta('ema').decay }));
    for (let i = 0; i < 6; i++) {
      arena.write(arena.values, () => optim.row('ema.weights', i));
      ema.step(state);
      near(`step ${i}`, (await arena.read(ema.average)).get('w')!, optim.row('ema.averages', i));
    }
  });

  // timm's ModelEmaV3.get_decay with warm-up: step 1 copies the weights, step t has 1 − t^(−2/3).
  it.each([
    [0.9999, 1, 0],
    [0.9999, 2, 1 - 2 ** (-2 / 3)],
    [0.9999, 8, 0.75],
    [0.9999, 27, 8 / 9],
    [0.9999, 1000, 0.99],
    [0.9999, 2_000_000, 0.9999],
    [0.5, 1, 0],
    [0.5, 2, 1 - 2 ** (-2 / 3)],
    [0.5, 8, 0.5],
  ])('warms up to %d: step %i has %d', (decay, t, expected) => {
    expect(new Ema(arenaOf({ w: [1] }), decay).decayAt(t)).toBeCloseTo(expected, 14);
  });

  it('is a copy of the weights after the first step', async () => {
    const arena = arenaOf({ w: [19] });
    const state = makeStepState(gpuOf());
    arena.write(arena.values, () => optim.values('ema.start'));
    const ema = new Ema(arena, 0.999);
    arena.write(arena.values, () => optim.row('ema.weights', 0));
    writeStepState(state, stepOf({ emaDecay: ema.decayAt(1) }));
    ema.step(state);
    expect((await arena.read(ema.average)).get('w')).toEqual(optim.row('ema.weights', 0));
  });
});

interface ScheduleCase {
  readonly lr: number;
  readonly warmup_lr: number;
  readonly min_lr: number;
  readonly warmup_steps: number;
  readonly steps: number;
  readonly lrs: number[];
}

describe('learning rates', () => {
  const { cases, one_cycle }: { cases: ScheduleCase[]; one_cycle: ScheduleCase[] } = JSON.parse(
    readFileSync(inReference('schedule.json'), 'utf8'),
  );
  it.each(cases)('warm up for $warmup_steps of $steps steps and follow the cosine', (expected) => {
    const { lr, warmup_lr: warmupLr, min_lr: minLr, warmup_steps: warmupSteps, steps: totalSteps } = expected;
    const schedule = { kind: 'cosine' as const, lr, warmupLr, minLr, warmupSteps, totalSteps };
    const constant = { ...schedule, kind: 'constant' as const };
    for (const [done, rate] of expected.lrs.entries()) {
      const actual = learningRate(schedule, done);
      // PyTorch computes each rate from the one before, so its rounding error is relative to the peak rate, in float64.
      expect(Math.abs(actual - rate), `step ${done}`).toBeLessThanOrEqual(1e-15 * lr);
      expect(learningRate(constant, done)).toBe(done < warmupSteps ? actual : lr);
    }
    expect(learningRate(schedule, totalSteps)).toBe(minLr);
    expect(learningRate(schedule, 10 * totalSteps)).toBe(minLr);
  });

  it.each(cases)('warm up for $warmup_steps of $steps steps and follow the line', (expected) => {
    const { lr, warmup_lr: warmupLr, min_lr: minLr, warmup_steps: warmupSteps, steps: totalSteps } = expected;
    const schedule = { kind: 'linear' as const, lr, warmupLr, minLr, warmupSteps, totalSteps };
    // The warm-up is PyTorch's. After it, each rate is that of LinearLR.get_lr, which computes it from the one before.
    const [start, end, steps] = [1, minLr / lr, totalSteps - warmupSteps];
    let rate = lr;
    for (let done = 0; done <= totalSteps; done++) {
      const t = done - warmupSteps;
      if (t > 0) rate *= 1 + (end - start) / (steps * start + (t - 1) * (end - start));
      const reference = t < 0 ? expected.lrs[done]! : rate;
      expect(Math.abs(learningRate(schedule, done) - reference), `step ${done}`).toBeLessThanOrEqual(
        1e-14 * lr,
      );
    }
    expect(learningRate(schedule, totalSteps)).toBe(minLr);
    expect(learningRate(schedule, 10 * totalSteps)).toBe(minLr);
  });

  it.each(one_cycle)('rise and fall in one cycle of $steps steps', ({ lr, steps: totalSteps, lrs }) => {
    const schedule = { kind: 'one-cycle' as const, lr, warmupLr: 0, minLr: 0, warmupSteps: 0, totalSteps };
    for (const [done, rate] of lrs.entries())
      expect(Math.abs(learningRate(schedule, done) - rate), `step ${done}`).toBeLessThanOrEqual(1e-15 * lr);
    expect(learningRate(schedule, 10 * totalSteps)).toBeCloseTo(lr / 250_000, 15);
  });
});

/** y, and the gradients of the inputs for the output gradient dy; labels have none. */
async function differentiate(forward: (...inputs: Tensor[]) => Tensor, inputs: Tensor[], dy?: Tensor) {
  for (const input of inputs) {
    input.requiresGrad = input.dtype === 'f32';
    input.grad = Tensor.zeros(input.gpu, input.shape);
  }
  const tape = new Tape();
  const y = tape.run(() => forward(...inputs));
  tape.backward(y, dy ? { gradient: dy } : {});
  return {
    y: await y.toFloat32(),
    gradients: await Promise.all(inputs.map(({ grad }) => grad!.toFloat32())),
  };
}

describe('cross entropy', () => {
  const { smoothings, ...means } = losses.meta('cross_entropy');
  const cases = ['hard', 'soft'].flatMap((kind) => smoothings.map((s: number, i: number) => [kind, s, i]));

  it.each(cases)('%s targets smoothed by %d', async (kind, smoothing, i) => {
    const logits = losses.tensor('ce.logits');
    const target = losses.tensor(kind === 'hard' ? 'ce.labels' : 'ce.soft');
    const loss = (x: Tensor, t: Tensor) => crossEntropy(x, t, smoothing);
    const { y, gradients } = await differentiate(loss, [logits, target]);
    near('mean', y, [means[kind][i]]);
    near('gradient', gradients[0]!, losses.values(`ce.${kind}.${i}.grad`));
    const labels = await target.toUint32();
    const each = new Float32Array(9);
    for (const r of each.keys()) {
      const row = Tensor.from(gpuOf(), losses.row('ce.logits', r), [1, 5]);
      const of =
        kind === 'hard'
          ? Tensor.from(gpuOf(), labels.slice(r, r + 1))
          : Tensor.from(gpuOf(), losses.row('ce.soft', r), [1, 5]);
      each[r] = (await loss(row, of).toFloat32())[0]!;
    }
    near('row by row', each, losses.values(`ce.${kind}.${i}.each`));
  });
});

interface OpCase {
  readonly name: string;
  readonly forward: (...inputs: Tensor[]) => Tensor;
  readonly inputs: string[];
  /** The gradient of y; ones when absent. */
  readonly dy?: string;
  readonly y: string;
  readonly gradients: string[];
}

const layerNorms = losses.meta('layer_norm').eps.map(
  (eps: number, i: number): OpCase => ({
    name: `layer_norm with eps ${eps}`,
    forward: (x, weight, bias) => layerNorm(x!, weight!, bias!, eps),
    inputs: ['layer_norm.x', 'layer_norm.weight', 'layer_norm.bias'],
    dy: 'layer_norm.dy',
    y: `layer_norm.${i}.y`,
    gradients: ['dx', 'dweight', 'dbias'].map((key) => `layer_norm.${i}.${key}`),
  }),
);
const gelus = (['erf', 'tanh'] as const).map(
  (way): OpCase => ({
    name: `gelu by ${way}`,
    forward: (x) => gelu(x!, way === 'erf' ? 'none' : 'tanh'),
    inputs: ['gelu.x'],
    y: `gelu.${way}.y`,
    gradients: [`gelu.${way}.grad`],
  }),
);
const softmaxCase: OpCase = {
  name: 'softmax',
  forward: (x) => softmax(x!),
  inputs: ['softmax.x'],
  dy: 'softmax.dy',
  y: 'softmax.y',
  gradients: ['softmax.dx'],
};
const attentionCase: OpCase = {
  name: 'attention',
  forward: (qkv) => attention(qkv!, losses.meta('attention').heads),
  inputs: ['attention.qkv'],
  dy: 'attention.dout',
  y: 'attention.out',
  gradients: ['attention.dqkv'],
};

it.each<OpCase>([...layerNorms, ...gelus, softmaxCase, attentionCase])(
  '$name',
  async ({ forward, inputs, dy, y, gradients }) => {
    const ones = () => new Float32Array(losses.values(y).length).fill(1);
    const gradient = dy ? losses.tensor(dy) : Tensor.from(gpuOf(), ones());
    const found = await differentiate(forward, inputs.map(losses.tensor), gradient);
    near(y, found.y, losses.values(y));
    for (const [i, key] of gradients.entries()) near(key, found.gradients[i]!, losses.values(key));
  },
);
