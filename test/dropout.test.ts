/**
 * Each dropout rate is applied at its place and nowhere else: a training pass of a whole model is compared with the same
 * model in float64, which is built from the ops' references and draws the same random numbers.
 */
import { beforeAll, expect, it } from 'vitest';
import { type Inputs, mapInputs } from '../src/autograd/inputs.js';
import type { AnyOp } from '../src/autograd/op.js';
import { stream as ownStreams } from '../src/core/rng.js';
import type { Shape } from '../src/core/shape.js';
import type { VisionTransformer } from '../src/models/vit.js';
import { addOp } from '../src/ops/add.js';
import { attentionOp } from '../src/ops/attention.js';
import { dropoutOp } from '../src/ops/dropout.js';
import { geluOp } from '../src/ops/gelu.js';
import { im2colOp } from '../src/ops/im2col.js';
import { keepTokensOp, tokenPlaces } from '../src/ops/keep_tokens.js';
import { layerNormOp } from '../src/ops/layer_norm.js';
import { linearOp } from '../src/ops/linear.js';
import { scaleQueriesOp } from '../src/ops/scale_queries.js';
import { keyOf, makeStepState, writeStepState } from '../src/ops/step_state.js';
import { prependTokenOp, takeTokenOp } from '../src/ops/tokens.js';
import { buildModel } from '../src/recipe/model.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { Arena } from '../src/tensor/arena.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, withGpu, worst } from './gpu.js';

const gpuOf = withGpu();

interface Value {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** An op by its specification. */
function specified(op: AnyOp, inputs: Inputs<Value>, attrs?: object): Value {
  const shapes = mapInputs(inputs, ({ shape }) => shape);
  const values = mapInputs(inputs, ({ data }) => data);
  return { shape: op.shape(shapes, attrs), data: op.reference(values, shapes, attrs) };
}

const [SEED, STEP] = [5, 7];
const key: Value = { shape: [2], data: Float64Array.of(SEED, STEP) };

/** Dropout rates by place; drop path has a rate for each block. `patches` is the number of patches that are kept, of four. */
interface Rates {
  readonly embedded: number;
  readonly weights: number;
  readonly projected: number;
  readonly hidden: number;
  readonly paths: readonly number[];
  readonly patches: number;
}

const dataset = { channels: 3, height: 8, width: 8, mean: [0], std: [1], classes: ['a', 'b', 'c'] };
const sizes = { embedDim: 8, depth: 2, numHeads: 2, mlpRatio: 2, patchSize: 4 } as const;
const HEADS = 2;
const IMAGES: Shape = [6, 3, 8, 8];
const pixels = normals(IMAGES, 1);

/** Training logits of a model in float64. Streams are numbered in the order of places; resumed runs depend on that. */
function logitsOf(weights: ReadonlyMap<string, Value>, rates: Rates): Float64Array {
  const weight = (name: string) => weights.get(name)!;
  const layer = (name: string) => ({ weight: weight(`${name}.weight`), bias: weight(`${name}.bias`) });
  const linear = (x: Value, name: string) => specified(linearOp, { x, ...layer(name) }, {});
  const norm = (x: Value, name: string) => specified(layerNormOp, { x, ...layer(name) }, { eps: 1e-6 });
  const add = (a: Value, b: Value) => specified(addOp, { a, b });
  const drop = (x: Value, rate: number, stream: number, group = 1) =>
    specified(dropoutOp, { x, key }, { rate, stream, group });
  let stream = 1000;
  const geometry = { patch: [4, 4], stride: [4, 4], padding: [0, 0] } as const;
  const images = { shape: IMAGES, data: Float64Array.from(pixels) };
  let x = linear(specified(im2colOp, { x: images }, geometry), 'patch_embed.proj');
  x = specified(prependTokenOp, { x, token: weight('cls_token') });
  x = drop(add(x, weight('pos_embed')), rates.embedded, stream++);
  const kept = { prefix: 1, kept: rates.patches, stream: ownStreams.tokens };
  if (rates.patches < 4) x = specified(keepTokensOp, { x, key }, kept);
  for (const [i, path] of rates.paths.entries()) {
    const [weightsAt, projectedAt, hiddenAt, mlpAt, path1, path2] = Array.from({ length: 6 }, () => stream++);
    const block = `blocks.${i}`;
    const sample = x.data.length / x.shape[0]!;
    const qkv = linear(norm(x, `${block}.norm1`), `${block}.attn.qkv`);
    const temperature = weights.get(`${block}.attn.temperature`);
    const scaled = temperature ? specified(scaleQueriesOp, { qkv, temperature }) : qkv;
    const attrs = {
      heads: HEADS,
      rate: rates.weights,
      stream: weightsAt!,
      masked: temperature !== undefined,
    };
    const mixed = linear(specified(attentionOp, { qkv: scaled, key }, attrs), `${block}.attn.proj`);
    x = add(x, drop(drop(mixed, rates.projected, projectedAt!), path, path1!, sample));
    const hidden = specified(
      geluOp,
      { x: linear(norm(x, `${block}.norm2`), `${block}.mlp.fc1`) },
      { approximate: 'none' },
    );
    const given = linear(drop(hidden, rates.hidden, hiddenAt!), `${block}.mlp.fc2`);
    x = add(x, drop(drop(given, rates.projected, mlpAt!), path, path2!, sample));
  }
  return linear(norm(specified(takeTokenOp, { x }, { index: 0 }), 'norm'), 'head').data;
}

const none: Rates = { embedded: 0, weights: 0, projected: 0, hidden: 0, paths: [0, 0], patches: 4 };
const variants: [string, Partial<Settings>, Partial<Rates>][] = [
  ['none', {}, {}],
  ['embedded tokens', { embedDropout: 0.4 }, { embedded: 0.4 }],
  ['attention weights', { attentionDropout: 0.4 }, { weights: 0.4 }],
  ['what projections give', { residualDropout: 0.4 }, { projected: 0.4 }],
  ['hidden units of the MLP', { mlpDropout: 0.4 }, { hidden: 0.4 }],
  ['branches of the last block', { dropPath: 0.4 }, { paths: [0, 0.4] }],
  ['branches of all blocks', { dropPath: 0.4, dropPathMode: 'constant' }, { paths: [0.4, 0.4] }],
  ['half of the patches', { keepTokens: 0.5 }, { patches: 2 }],
  [
    'all patches but one, and hidden units',
    { keepTokens: 0.01, mlpDropout: 0.4 },
    { patches: 1, hidden: 0.4 },
  ],
  [
    'all but attention weights and branches, by one rate',
    { dropout: 0.2 },
    { embedded: 0.2, projected: 0.2, hidden: 0.2 },
  ],
  [
    'everything, at rates of its own',
    { ...{ embedDropout: 0.1, attentionDropout: 0.2, residualDropout: 0.3, mlpDropout: 0.4 }, dropPath: 0.5 },
    { embedded: 0.1, weights: 0.2, projected: 0.3, hidden: 0.4, paths: [0, 0.5] },
  ],
];

let undisturbed: Float64Array;
beforeAll(() => {
  undisturbed = logitsOf(weightsOf(modelWith({})), none);
});

const modelWith = (settings: Partial<Settings>): VisionTransformer =>
  buildModel(resolveSettings({ ...sizes, ...settings }), dataset) as VisionTransformer;

/** Larger than initial values, so that dropping a value makes a difference. */
const valuesOf = (index: number, shape: Shape) => normals(shape, 100 + index, 0.4);
const weightsOf = (model: VisionTransformer): Map<string, Value> =>
  new Map(
    model
      .parameters()
      .map(({ name, shape }, i) => [name, { shape, data: Float64Array.from(valuesOf(i, shape)) }]),
  );

/** Logits of a model in training and in evaluation. */
async function computed(model: VisionTransformer): Promise<Record<'training' | 'evaluation', Float32Array>> {
  const gpu = gpuOf();
  const arena = new Arena(gpu, model.parameters(), () => true);
  const order = model.parameters();
  arena.write(arena.values, (parameter) => valuesOf(order.indexOf(parameter), parameter.shape));
  const state = makeStepState(gpu);
  const still = { slot: 0, lr: 0, stepSize: 0, rootC2: 1, emaDecay: 0 };
  writeStepState(state, { seed: SEED, step: STEP, ...still });
  const images = Tensor.from(gpu, pixels, IMAGES);
  const logits = (training: boolean) => model.forward(images, { training, key: keyOf(state) }).toFloat32();
  return { training: await logits(true), evaluation: await logits(false) };
}

function expectLogits(actual: Float32Array, expected: Float64Array): void {
  const { ratio, at } = worst(actual, expected, (i) => 2e-5 * (1 + Math.abs(expected[i]!)));
  expect(ratio, `logit ${at}: ${actual[at]} for ${expected[at]}`).toBeLessThanOrEqual(1);
}

it.each(variants)('drops %s', async (_, settings, changed) => {
  const model = modelWith(settings);
  const { training, evaluation } = await computed(model);
  const expected = logitsOf(weightsOf(model), { ...none, ...changed });
  expectLogits(training, expected);
  // Dropping changes the logits far more than rounding does.
  const apart = worst(expected, undisturbed, () => 2e-3).ratio;
  expect(apart > 1).toBe(Object.keys(changed).length > 0);
  // In evaluation nothing is dropped.
  expectLogits(evaluation, undisturbed);
});

it('masks and scales attention with --locality, in training and in evaluation', async () => {
  const model = modelWith({ locality: true, attentionDropout: 0.4, keepTokens: 0.75 });
  const { training, evaluation } = await computed(model);
  const outside = logitsOf(weightsOf(model), none);
  expectLogits(training, logitsOf(weightsOf(model), { ...none, weights: 0.4, patches: 3 }));
  expectLogits(evaluation, outside);
  expect(worst(outside, undisturbed, () => 2e-3).ratio).toBeGreaterThan(1);
});

it('keeps every choice of patches equally often, another one for each image and step', () => {
  const choices = new Map<string, number>();
  const N = 6000;
  for (let step = 0; step < N / 6; step++)
    for (let b = 0; b < 6; b++) {
      const places = tokenPlaces([3, step], { prefix: 1, stream: ownStreams.tokens }, 6, b);
      expect([...places].sort()).toEqual([0, 1, 2, 3, 4, 5]);
      expect(places[0]).toBe(0);
      const kept = places.flatMap((place, n) => (n > 0 && place < 3 ? n : [])).join();
      choices.set(kept, (choices.get(kept) ?? 0) + 1);
    }
  expect(choices.size).toBe(10); // two of five
  for (const count of choices.values()) expect(Math.abs(count / N - 0.1)).toBeLessThan(0.02);
});
