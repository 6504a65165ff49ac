/**
 * Whole models against PyTorch: names, logits, loss, every gradient, twenty steps of AdamW, with and without the engine's
 * fallbacks. A recorded step equals an eager one, bit for bit. Valid configurations, and their counts.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.js';
import { ConfigError } from '../src/core/errors.js';
import type { Shape } from '../src/core/shape.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { asFloat32, decodeSafetensors } from '../src/io/safetensors.js';
import { VisionTransformer } from '../src/models/vit.js';
import type { VitOptions } from '../src/models/vit_config.js';
import { crossEntropy } from '../src/ops/index.js';
import { clipNorm } from '../src/ops/optimizer.js';
import { keyOf, makeStepState, writeStepState } from '../src/ops/step_state.js';
import { AdamW } from '../src/optim/adamw.js';
import { buildOptimizer, decayRule } from '../src/recipe/optimizer.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { Arena } from '../src/tensor/arena.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, withGpu, worst } from './gpu.js';

interface Training {
  readonly lr: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weight_decay: number;
  readonly clip: number;
  readonly losses: number[];
  readonly norms: number[];
}

function readFixture(name: string) {
  const path = join(import.meta.dirname, 'reference', `${name}.safetensors`);
  const { tensors, metadata } = decodeSafetensors(path, readFileSync(path));
  const config = JSON.parse(metadata.config as string);
  const get = (key: string) => tensors.get(key)!;
  return {
    name,
    grid: config.grid as number[],
    tokens: config.tokens as number,
    options: {
      imageSize: config.image_size,
      patchSize: config.patch_size,
      stride: config.stride,
      padding: config.padding,
      channels: config.in_chans,
      classes: config.num_classes,
      embedDim: config.embed_dim,
      depth: config.depth,
      numHeads: config.num_heads,
      mlpRatio: config.mlp_ratio,
      layerNormEps: config.eps,
      pool: config.pool,
      layerScale: config.layer_scale ?? 0,
      qkNorm: config.qk_norm ?? false,
      regTokens: config.reg_tokens ?? 0,
      posEmbed: config.pos_embed ?? 'learn',
    } satisfies VitOptions as VitOptions,
    loss: Number(metadata.loss),
    training: metadata.adamw ? (JSON.parse(metadata.adamw) as Training) : null,
    names: (prefix: string) => [...tensors.keys()].filter((key) => key.startsWith(prefix)),
    shape: (key: string): Shape => get(key).shape,
    values: (key: string) => new Float32Array(asFloat32(get(key))),
    labels: new Uint32Array(new Uint8Array(get('labels').bytes).buffer),
  };
}
type Fixture = ReturnType<typeof readFixture>;

const fixtures = ['vit_cls', 'vit_mean', 'vit_rect', 'vit_options', 'vit_registers'].map(readFixture);
const table = (list: Fixture[]) => list.map((fixture) => [fixture.name, fixture] as const);

const isMatrix = decayRule('matrices');

function onDevice(gpu: Gpu, fixture: Fixture) {
  const model = new VisionTransformer(fixture.options);
  const arena = new Arena(gpu, model.parameters(), isMatrix);
  arena.write(arena.values, ({ name }) => fixture.values(`weights.${name}`));
  const images = Tensor.from(gpu, fixture.values('images'), fixture.shape('images'));
  const labels = Tensor.from(gpu, fixture.labels);
  const tape = new Tape();
  /** Loss and logits, and the gradients of all parameters. */
  const pass = () => {
    const made = tape.run(() => {
      const logits = model.forward(images);
      return { logits, loss: crossEntropy(logits, labels) };
    });
    tape.backward(made.loss);
    return made;
  };
  return { model, arena, images, pass };
}

/** Every |difference| is at most atol + rtol · |expected|. */
function near(
  what: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  atol: number,
  rtol = 0,
): void {
  expect(actual.length, what).toBe(expected.length);
  const { ratio, at } = worst(actual, expected, (i) => atol + rtol * Math.abs(expected[i] as number));
  expect(ratio, `${what} at ${at}: ${actual[at]} for ${expected[at]}`).toBeLessThanOrEqual(1);
}

describe.each([
  ['the engine', []],
  ['without immediates', ['immediates']],
  ['without subgroups', ['subgroups']],
])('%s', (_, without) => {
  const gpuOf = withGpu({ without });

  const tags = without.length === 0 ? ['quick'] : [];

  it.each(table(fixtures))('%s: logits, loss and gradients', { tags }, async (_, fixture) => {
    const { arena, images, pass } = onDevice(gpuOf(), fixture);
    const withImages = fixture.names('grad.images').length > 0;
    images.requiresGrad = withImages;
    if (withImages) images.grad = Tensor.zeros(images.gpu, images.shape);
    const { logits, loss } = pass();
    near('logits', await logits.toFloat32(), fixture.values('logits'), 1e-4);
    near('loss', await loss.toFloat32(), [fixture.loss], 1e-5);
    const gradients = await arena.trained.read(arena.trained.of(arena.gradients));
    if (images.grad) gradients.set('images', await images.grad.toFloat32());
    expect([...gradients.keys()].map((name) => `grad.${name}`).sort()).toEqual(fixture.names('grad.').sort());
    for (const [name, gradient] of gradients)
      near(name, gradient, fixture.values(`grad.${name}`), 1e-5, 1e-3);
  });

  it.each(table(fixtures.filter(({ training }) => training)))(
    '%s: twenty steps of AdamW',
    async (_, fixture) => {
      const { lr, clip: maxNorm, weight_decay: weightDecay, losses, norms, ...betas } = fixture.training!;
      const gpu = gpuOf();
      const { arena, pass } = onDevice(gpu, fixture);
      const optimizer = new AdamW(arena, { ...betas, weightDecay });
      const clip = Tensor.zeros(gpu, [2]);
      const state = makeStepState(gpu);
      for (const [step, expected] of losses.entries()) {
        const corrections = optimizer.corrections(lr, step + 1);
        writeStepState(state, { seed: 0, step, slot: 0, lr, ...corrections, emaDecay: 0 });
        const { loss, logits } = pass();
        clipNorm(arena.gradients, clip, maxNorm);
        optimizer.step(clip, state);
        near(`loss of step ${step}`, await loss.toFloat32(), [expected], 1e-4);
        near(
          `norm of step ${step}`,
          (await clip.toFloat32()).slice(0, 1),
          norms.slice(step, step + 1),
          0,
          1e-4,
        );
        loss.release();
        logits.release();
      }
      const D = fixture.options.embedDim!;
      for (const [name, weights] of await arena.read(arena.values)) {
        const expected = fixture.values(`after.${name}`);
        // The key bias adds the same to all scores of a query, which softmax ignores: its exact gradient is zero, the
        // computed one is rounding, and Adam makes full steps of that. With normalised keys this holds for the norm's bias.
        if (name.endsWith('k_norm.bias')) weights.set(expected);
        if (name.endsWith('attn.qkv.bias') && !fixture.options.qkNorm)
          weights.set(expected.subarray(D, 2 * D), D);
        near(name, weights, expected, 1e-4);
      }
    },
  );
});

describe('a recorded step', () => {
  const gpuOf = withGpu();
  const PLAYS = 50;
  const shape = [4, 3, 16, 16];
  const dropping = { dropout: 0.1, attentionDropout: 0.1, dropPath: 0.1 };

  /** Everything that training needs. It is made before any step, because an upload inside a recording is not replayed. */
  function training(
    gpu: Gpu,
    { seed = 3, options = dropping as VitOptions, settings = {} as Partial<Settings> } = {},
  ) {
    const model = new VisionTransformer({ ...fixtures[0]!.options, ...options });
    const { arena, optimizer } = buildOptimizer(gpu, model, resolveSettings(settings));
    arena.initialise(model.parameters(), 5);
    const images = Tensor.from(gpu, normals(shape, 1), shape);
    const labels = Tensor.from(gpu, Uint32Array.of(0, 3, 6, 3));
    const gradient = Tensor.from(gpu, Float32Array.of(1));
    const clip = Tensor.zeros(gpu, [2]);
    const state = makeStepState(gpu);
    const states = Object.values(optimizer.state).map(({ tensor }) => tensor);
    const mode = { training: true, key: keyOf(state) };
    const tape = new Tape();
    return {
      prepare(step: number) {
        const lr = 1e-3 / (1 + step);
        const corrections = optimizer.corrections(lr, step + 1);
        writeStepState(state, { seed, step, slot: 0, lr, ...corrections, emaDecay: 0 });
      },
      step(): Tensor {
        const loss = tape.run(() => crossEntropy(model.forward(images, mode), labels));
        tape.backward(loss, { gradient });
        clipNorm(arena.gradients, clip, 1);
        optimizer.step(clip, state);
        return loss;
      },
      /** The bits of all results of a step. */
      bits: (loss: Tensor) =>
        Promise.all([loss, clip, arena.values, ...states].map((tensor) => tensor.toUint32())),
    };
  }

  const extras: VitOptions = {
    ...{ layerScale: 0.1, qkNorm: true, regTokens: 2, posEmbed: 'sincos2d', locality: true },
  };
  it.each<[string, { options?: VitOptions; settings?: Partial<Settings> }]>([
    ['with dropout', {}],
    ['without dropout, by fused ops', { options: {} }],
    [
      'with every part that a model may have',
      { options: { ...extras, mlpDropout: 0.2, dropPathMode: 'constant', keepTokens: 0.5 } },
    ],
    ['by Muon, with rates by layer', { options: {}, settings: { optimizer: 'muon', layerDecay: 0.8 } }],
  ])('is the eager step bit for bit, and makes nothing anew when it is played: %s', async (_, variant) => {
    const gpu = gpuOf();
    const eager = training(gpu, variant);
    const expected: Uint32Array[][] = [];
    for (let step = 0; step <= PLAYS; step++) {
      eager.prepare(step);
      const loss = eager.step();
      expected.push(await eager.bits(loss));
      loss.release();
    }
    const recorded = training(gpu, variant);
    recorded.prepare(0);
    const { result: loss, recording } = gpu.record(recorded.step);
    expect(await recorded.bits(loss)).toEqual(expected[0]);
    const made = () => ({
      buffers: gpu.pool.created,
      bindGroups: gpu.diagnostics.counts.bindGroups,
      live: gpu.pool.liveBytes,
    });
    const counts: ReturnType<typeof made>[] = [];
    for (let step = 1; step <= PLAYS; step++) {
      recorded.prepare(step);
      gpu.play(recording);
      expect(await recorded.bits(loss), `step ${step}`).toEqual(expected[step]);
      counts.push(made());
    }
    expect(counts.at(-1)).toEqual(counts[1]);
  });

  it('draws with the seed of the step', async () => {
    const losses: Uint32Array[] = [];
    for (const seed of [1, 2, 1]) {
      const { prepare, step, bits } = training(gpuOf(), { seed });
      prepare(0);
      losses.push((await bits(step()))[0]!);
    }
    expect(losses[1]).not.toEqual(losses[0]);
    expect(losses[2]).toEqual(losses[0]);
  });
});

describe('the configuration', () => {
  it.each(table(fixtures))('%s: parameters have the names and shapes of timm', (_, fixture) => {
    const model = new VisionTransformer(fixture.options);
    expect(model.config).toMatchObject({ grid: fixture.grid, tokens: fixture.tokens });
    const shapes = Object.fromEntries(
      model.parameters().map(({ name, shape }) => [`weights.${name}`, shape]),
    );
    const expected = Object.fromEntries(fixture.names('weights.').map((name) => [name, fixture.shape(name)]));
    expect(shapes).toEqual(expected);
    expect(model.parameters()).toHaveLength(Object.keys(expected).length);
  });

  it.each<[VitOptions, RegExp]>([
    [{ imageSize: 30 }, /image height 30 .* patches of 4 every 4 pixels: 2 are left over/],
    [{ imageSize: [32, 34] }, /image width 34 .* 2 are left over/],
    [{ imageSize: 32, stride: 3 }, /patches of 4 every 3 pixels: 1 are left over/],
    [{ imageSize: 32, padding: 1 }, /image height 34 \(padding included\)/],
    [{ imageSize: 2 }, /patch height 4 is larger than the padded image's 2/],
    [{ embedDim: 100, numHeads: 3 }, /embed_dim 100 must be divisible by the number of heads, 3/],
    [{ imageSize: 0 }, /image height must be a positive integer, not 0/],
    [{ imageSize: [32, 0] }, /image width must be a positive integer, not 0/],
    [{ channels: 0 }, /channels must be a positive integer, not 0/],
    [{ classes: 0 }, /classes must be a positive integer, not 0/],
    [{ depth: 0 }, /depth must be at least 1, not 0/],
    [{ numHeads: -1 }, /numHeads must be at least 0, not -1/],
    [{ embedDim: 0 }, /embedDim must be at least 1, not 0/],
    [{ embedDim: 19.5 }, /embedDim must be a whole number, not 19.5/],
    [{ patchSize: 0 }, /patch height must be a positive integer, not 0/],
    [{ patchSize: [4, -4] }, /patch width must be a positive integer, not -4/],
    [{ stride: 0 }, /stride down must be a positive integer, not 0/],
    [{ padding: -1 }, /padding must be a whole number of pixels, not -1/],
    [{ mlpRatio: 0 }, /mlp_ratio must be positive, not 0/],
    [{ dropout: -0.1 }, /dropout must be at least 0, not -0.1/],
    [{ attentionDropout: 1 }, /attentionDropout must be below 1, not 1/],
    [{ dropPath: Number.NaN }, /dropPath must be a finite number, not NaN/],
    [{ keepTokens: 0 }, /keep_tokens must be above 0 and at most 1, not 0/],
    [
      { locality: true, patchSize: 32, pool: 'mean' },
      /locality needs two tokens.* has one\. Use smaller patches/,
    ],
    [{ layerNormEps: 0 }, /layerNormEps must be positive, not 0/],
    [{ pool: 'max' as 'cls' }, /pool must be one of cls, mean, not "max"/],
    [{ mlpDropout: 1 }, /mlpDropout must be below 1, or -1, not 1/],
    [{ regTokens: 1.5 }, /regTokens must be a whole number, not 1.5/],
    [{ heads: 3 } as VitOptions, /there is no option called heads/],
    [{ layerScale: -1 }, /layerScale must be at least 0, not -1/],
    [
      { embedDim: 6, numHeads: 1, posEmbed: 'sincos2d' },
      /an embed_dim that is divisible by 4 and at least 8, not 6/,
    ],
    [{ embedDim: 8, numHeads: 8, qkNorm: true }, /embed_dim 8 with 8 heads has 1/],
  ])('refuses %j', (options, says) => {
    const construct = () => new VisionTransformer(options);
    expect(construct).toThrow(ConfigError);
    expect(construct).toThrow(says);
  });

  it('has a default for everything', () => {
    expect(new VisionTransformer({ embedDim: 96 }).config).toMatchObject({
      ...{ imageSize: [32, 32], channels: 3, classes: 10, grid: [8, 8], tokens: 65, pool: 'cls' },
      ...{ embedDim: 96, depth: 12, heads: 2, headDim: 48, hidden: 384, eps: 1e-6 },
      ...{ dropout: 0, embedDropout: 0, mlpDropout: 0, residualDropout: 0, attentionDropout: 0, dropPath: 0 },
      ...{ dropPathMode: 'linear', layerScale: 0, qkNorm: false, regTokens: 0, prefix: 1, posEmbed: 'learn' },
    });
    expect(new VisionTransformer().config).toMatchObject({ embedDim: 192, heads: 3, headDim: 64 });
  });

  it('counts the operations of all tokens, and keeps its part of them in training', () => {
    const half = {
      embedDim: 8,
      depth: 3,
      mlpRatio: 2,
      patchSize: 16,
      pool: 'mean' as const,
      keepTokens: 0.5,
    };
    const [D, K, N] = [8, 10, 4];
    const blocks = 3 * (2 * N * (4 * D * D + 4 * D * D) + 4 * N * N * D);
    const model = new VisionTransformer(half);
    expect(model.config.trainingTokens).toBe(2);
    expect(model.flops()).toBe(2 * N * 768 * D + blocks + 2 * D * K);
  });

  const tiny = (D: number) => 49 * D + D + 65 * D + 12 * (12 * D * D + 13 * D) + 2 * D + 10 * (D + 1);
  const base = { imageSize: 224, patchSize: 16, embedDim: 768, depth: 12, numHeads: 12, classes: 1000 };
  it.each<[string, VitOptions, number, RegExp]>([
    ['ViT-B/16', base, 86_567_656, /12 heads of 64.*\(197 tokens\).*images 3 x 224 x 224, 1000 classes/],
    [
      'ViT-Tiny/4',
      { embedDim: 192, numHeads: 3 },
      tiny(192),
      /3 heads of 64.*\(65 tokens\).*images 3 x 32 x 32, 10 classes/,
    ],
  ])('%s has %j: %i parameters', (_, options, parameters, says) => {
    const model = new VisionTransformer(options); // no device: nothing is allocated on one
    expect(model.numParams()).toBe(parameters);
    expect(model.summary()).toMatch(says);
    expect(model.summary()).toContain(`${parameters.toLocaleString('en-US')} parameters`);
    expect(() => model.posEmbed.tensor).toThrow(/pos_embed .* is not on a device yet/);
  });
});
