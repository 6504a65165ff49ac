/** Options of training and of the model: a run with each can be saved and resumed exactly; their names and refusals. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError } from '../src/core/errors.js';
import { asFloat32, decodeSafetensors, type TensorData } from '../src/io/safetensors.js';
import { zeros } from '../src/nn/init.js';
import { buildModel } from '../src/recipe/model.js';
import { buildOptimizer, decayRule, hiddenMatrices, layerDecayScale } from '../src/recipe/optimizer.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import type { Reporter } from '../src/runs/reporter.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { Trainer } from '../src/runs/trainer.js';
import { Parameter } from '../src/tensor/parameter.js';
import { type Evaluation, evaluate } from '../src/training/evaluate.js';
import { betterOf } from '../src/training/fit.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const dataset = images({ train: 40, test: 30 });
const small: Partial<Settings> = {
  ...{ embedDim: 24, depth: 2, numHeads: 3, mlpRatio: 2, patchSize: 8 },
  ...{ batchSize: 20, epochs: 2, logInterval: 1, clipGrad: 1 },
};

/** Two epochs of two steps. With `stopAfter`, the run is stopped there and resumed by another trainer. */
async function train(name: string, more: Partial<Settings>, stopAfter = 0, init?: string) {
  const path = join(folder, name);
  const settings = resolveSettings({ ...small, ...more });
  const open = async (resume: boolean): Promise<Trainer> => {
    let steps = 0;
    const step = () => {
      if (++steps === stopAfter && !resume) trainer.stopRequested = true;
    };
    const reporter: Reporter = { start() {}, step, epoch() {}, note() {} };
    const run = RunDirectory.open(path, { resume });
    const input = { gpu: gpuOf(), settings, dataset, run, reporter, environment: {}, init };
    const trainer = await Trainer.prepare({ ...input, resume: resume ? path : undefined });
    return trainer;
  };
  let trainer = await open(false);
  let outcome = await trainer.run();
  if (stopAfter > 0) {
    expect(outcome.reason).toBe('stopped');
    trainer = await open(true);
    outcome = await trainer.run();
  }
  const checkpoint = (file: string) => {
    const at = join(path, 'checkpoints', file);
    return decodeSafetensors(at, readFileSync(at));
  };
  return { trainer, outcome, path, checkpoint };
}

const named = (tensors: ReadonlyMap<string, unknown>, part: RegExp) =>
  [...tensors.keys()].filter((name) => part.test(name));

// Patterns for the tensors that each option adds to the state file of the plain run.
const options: [string, Partial<Settings>, RegExp[]][] = [
  ['rates of dropout', { dropout: 0.1, mlpDropout: 0, embedDropout: 0.2, residualDropout: 0.3 }, []],
  ['constant drop path', { dropPath: 0.2, dropPathMode: 'constant' }, []],
  ['some of the patches', { keepTokens: 0.5, dropout: 0.1 }, []],
  ['layer decay', { layerDecay: 0.7 }, []],
  ['one cycle', { schedule: 'one-cycle' }, []],
  ['alternating flips', { flip: 'alternating' }, []],
  ['a line', { schedule: 'linear' }, []],
  ['Muon', { optimizer: 'muon' }, [/^muon\.m\.blocks\.1\.attn\.qkv\.weight$/]],
  [
    'Muon with constants of its own',
    { optimizer: 'muon', muonMomentum: 0.6, muonSteps: 3, muonLearningRate: 0.01 },
    [/^muon\.m/],
  ],
  ['Muon of renormalised matrices', { optimizer: 'muon', muonNorm: 'unit', clipGrad: 0 }, [/^muon\.m/]],
  [
    'Muon with average and layer decay',
    { optimizer: 'muon', emaDecay: 0.99, layerDecay: 0.7 },
    [/^ema\./, /^muon/],
  ],
  ['LayerScale', { layerScale: 0.1 }, [/^blocks\.0\.ls1\.gamma$/, /^adamw\.v\.blocks\.1\.ls2\.gamma$/]],
  ['qk-norm', { qkNorm: true }, [/^blocks\.0\.attn\.q_norm\.weight$/, /^blocks\.1\.attn\.k_norm\.bias$/]],
  [
    'locality self-attention',
    { locality: true },
    [/^blocks\.0\.attn\.temperature$/, /^adamw\.v\.blocks\.1\.attn\.temperature$/],
  ],
  ['registers', { regTokens: 2 }, [/^reg_token$/]],
  ['registers under the mean', { regTokens: 2, pool: 'mean' }, [/^reg_token$/]],
  [
    'fixed positions',
    { posEmbed: 'sincos2d', emaDecay: 0.9, decay: 'all' },
    [/^pos_embed$/, /^ema\.pos_embed$/],
  ],
  ['shifted patches', { tokenizer: 'shifted' }, [/^patch_embed\.linear\.weight$/]],
  [
    'a convolutional stem',
    { tokenizer: 'conv', optimizer: 'muon', emaDecay: 0.9, layerDecay: 0.7 },
    [/^ema\.patch_embed\.stages\.2\.conv\.weight$/, /^adamw\.v\.patch_embed\.stages\.0\.norm\.bias$/],
  ],
  ['orthogonal weights and a head of zeros', { initScheme: 'orthogonal', zeroHead: true }, []],
  ['mimetic attention', { attentionInit: 'mimetic', optimizer: 'muon' }, []],
  ['a whitened patch embedding', { patchInit: 'whiten' }, []],
  ['a frozen patch embedding', { freezePatchEmbed: true }, [/^patch_embed\.proj\.weight$/]],
  [
    'a whitened patch embedding that is frozen, by Muon',
    { patchInit: 'whiten', freezePatchEmbed: true, optimizer: 'muon', posEmbed: 'sincos2d', pool: 'mean' },
    [/^patch_embed\.proj\.bias$/],
  ],
];

describe('training with', () => {
  let plain: Awaited<ReturnType<typeof train>>;
  beforeAll(async () => {
    plain = await train('plain', {});
  });

  it.each(options)('%s is continued exactly, and is not training without', async (name, more, adds) => {
    const whole = await train(name, more);
    const continued = await train(`${name}, continued`, more, 1);
    for (const file of ['final.safetensors', 'last.state.safetensors'])
      expect(continued.checkpoint(file).tensors).toEqual(whole.checkpoint(file).tensors);
    expect(whole.outcome.history.every(({ train_loss }) => Number.isFinite(train_loss))).toBe(true);
    expect(whole.outcome.history[1]!.train_loss).not.toBe(plain.outcome.history[1]!.train_loss);
    const { tensors } = whole.checkpoint('last.state.safetensors');
    for (const part of adds) expect(named(tensors, part), String(part)).not.toEqual([]);
  });

  it('Muon keeps one moment of what it moves, and two of the rest', async () => {
    const { tensors } = (await train('moments', { optimizer: 'muon' })).checkpoint('last.state.safetensors');
    const weights = named(tensors, /^(?!muon|adamw)/);
    const moved = weights.filter((name) => /^blocks\.\d\.(attn|mlp)\..*weight$/.test(name));
    expect(named(tensors, /^muon\.m\./)).toEqual(moved.map((name) => `muon.m.${name}`));
    expect(moved).toHaveLength(8);
    expect(tensors.size).toBe(weights.length + moved.length + 2 * (weights.length - moved.length));
  });

  it('fixed positions leaves them as they were computed, in the average too', async () => {
    const { checkpoint } = await train('sines', { posEmbed: 'sincos2d', emaDecay: 0.9, decay: 'all' });
    const { tensors } = checkpoint('last.state.safetensors');
    const positions = asFloat32(tensors.get('pos_embed')!);
    expect([...positions.subarray(0, 24)]).toEqual(Array(24).fill(0)); // the class token's
    expect([...positions.subarray(24 + 24, 24 + 24 + 2)]).toEqual(
      [Math.sin(1), Math.sin(10_000 ** -0.2)].map(Math.fround),
    );
    expect(tensors.get('ema.pos_embed')!.bytes).toEqual(tensors.get('pos_embed')!.bytes);
    expect(tensors.has('adamw.m.pos_embed')).toBe(false);
  });
});

describe('a frozen patch embedding', () => {
  const frozen = { freezePatchEmbed: true, emaDecay: 0.9, decay: 'all', weightDecay: 0.5 } as const;
  const of = (tensors: ReadonlyMap<string, TensorData>) =>
    [...tensors].filter(([name]) => name.startsWith('patch_embed.'));

  it.each(['adamw', 'muon'] as const)(
    'keeps its first values to the bit by %s, and has no moments',
    async (optimizer) => {
      const { checkpoint } = await train(`frozen by ${optimizer}`, { ...frozen, optimizer });
      const still = await train(`not moved by ${optimizer}`, {
        ...frozen,
        learningRate: 0,
        warmupLr: 0,
        maxSteps: 1,
      });
      const { tensors } = checkpoint('last.state.safetensors');
      const kept = of(tensors);
      expect(kept.map(([name]) => name)).toEqual(['patch_embed.proj.weight', 'patch_embed.proj.bias']);
      expect(kept).toEqual(of(still.checkpoint('final.safetensors').tensors));
      for (const [name, tensor] of kept) expect(tensors.get(`ema.${name}`)).toEqual(tensor);
      expect(named(tensors, /^(adamw|muon)\..*patch_embed/)).toEqual([]);
    },
  );
});

describe('the moving average', () => {
  it('is judged beside the weights, and every file says whose weights it holds', async () => {
    const { outcome, checkpoint, path } = await train('average', { emaDecay: 0.9 });
    const [last] = outcome.history.slice(-1);
    expect(outcome.lastEma).toMatchObject({ loss: last!.ema_val_loss, top1: last!.ema_val_accuracy });
    expect(last!.ema_val_loss).not.toBe(last!.val_loss);
    const kinds = { 'final.safetensors': 'raw', 'final.ema.safetensors': 'ema' };
    for (const [file, weights] of Object.entries(kinds))
      expect(checkpoint(file).metadata.weights).toBe(weights);
    const both = outcome.history.map((entry) => ({
      ...entry,
      most: Math.max(entry.val_accuracy!, entry.ema_val_accuracy!),
    }));
    const { accuracy, epoch, weights } = outcome.best!;
    expect(accuracy).toBe(Math.max(...both.map(({ most }) => most)));
    expect(both[epoch - 1]![weights === 'ema' ? 'ema_val_accuracy' : 'val_accuracy']).toBe(accuracy);
    expect(checkpoint('best.safetensors').metadata.weights).toBe(weights);
    // The figures belong to the saved average.
    const init = join(path, 'checkpoints', 'final.ema.safetensors');
    const { trainer } = await train('of the average', { learningRate: 0, warmupLr: 0, maxSteps: 1 }, 0, init);
    const { model, validation } = trainer.training;
    const { store, records, split } = validation;
    const judged = await evaluate({
      model,
      store,
      records,
      labels: split.labels,
      classes: dataset.classes,
      batchSize: 5,
    });
    expect(judged.loss).toBe(last!.ema_val_loss);
  });

  it('is null where there is none', async () => {
    const { outcome } = await train('no average', { maxSteps: 2 });
    expect(outcome.history[0]).toMatchObject({ ema_val_loss: null, ema_val_accuracy: null });
    expect(outcome.lastEma).toBeNull();
    expect(outcome.best!.weights).toBe('raw');
  });

  it.each([
    [0.5, null, 'raw', 0.5],
    [0.5, 0.4, 'raw', 0.5],
    [0.5, 0.5, 'raw', 0.5],
    [0.5, 0.6, 'ema', 0.6],
  ])('raw %d, average %d: %s is better', (raw, ema, weights, accuracy) => {
    const of = (top1: number) => ({ top1 }) as Evaluation;
    expect(betterOf({ raw: of(raw), ema: ema === null ? null : of(ema) })).toEqual({ weights, accuracy });
  });
});

describe('parameters', () => {
  const everything = { layerScale: 0.1, qkNorm: true, regTokens: 2, decay: 'matrices' } as const;
  const model = buildModel(resolveSettings({ ...small, ...everything }), dataset);
  const parameters = new Map(model.parameters().map((parameter) => [parameter.name, parameter]));

  it('have the names of timm', () => {
    const block = [
      ...[
        'norm1.weight',
        'norm1.bias',
        'attn.qkv.weight',
        'attn.qkv.bias',
        'attn.q_norm.weight',
        'attn.q_norm.bias',
      ],
      ...['attn.k_norm.weight', 'attn.k_norm.bias', 'attn.proj.weight', 'attn.proj.bias', 'ls1.gamma'],
      ...[
        'norm2.weight',
        'norm2.bias',
        'mlp.fc1.weight',
        'mlp.fc1.bias',
        'mlp.fc2.weight',
        'mlp.fc2.bias',
        'ls2.gamma',
      ],
    ];
    expect([...parameters.keys()]).toEqual([
      ...['cls_token', 'reg_token', 'pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias'],
      ...[0, 1].flatMap((i) => block.map((name) => `blocks.${i}.${name}`)),
      ...['norm.weight', 'norm.bias', 'head.weight', 'head.bias'],
    ]);
  });

  // Depth 2: patches and tokens are layer 0, the blocks 1 and 2, norm and head 3.
  it.each([
    ['cls_token', false, 0.125, 0],
    ['reg_token', false, 0.125, 0],
    ['pos_embed', false, 0.125, 0],
    ['patch_embed.proj.weight', true, 0.125, 0],
    ['blocks.0.attn.qkv.weight', true, 0.25, 3],
    ['blocks.0.attn.q_norm.weight', false, 0.25, 0],
    ['blocks.0.ls1.gamma', false, 0.25, 0],
    ['blocks.1.attn.proj.weight', true, 0.5, 1],
    ['blocks.1.mlp.fc1.weight', true, 0.5, 1],
    ['blocks.1.mlp.fc2.weight', true, 0.5, 1],
    ['blocks.1.mlp.fc2.bias', false, 0.5, 0],
    ['norm.weight', false, 1, 0],
    ['head.weight', true, 1, 0],
  ])('%s: decays %s, rate times %d, matrices of Muon %i', (name, decays, scale, parts) => {
    const parameter = parameters.get(name)!;
    expect(decayRule('matrices')(parameter)).toBe(decays);
    expect(layerDecayScale(0.5, model.layers())(parameter)).toBe(scale);
    const hidden = hiddenMatrices([parameter]);
    expect(hidden.map((it) => it.parts)).toEqual(parts === 0 ? [] : [parts]);
  });

  it('of locality self-attention are a temperature a head, which does not decay', () => {
    const local = buildModel(resolveSettings({ ...small, locality: true }), dataset);
    const own = local.parameters().filter(({ name }) => name.endsWith('.attn.temperature'));
    expect(own.map(({ name }) => name)).toEqual(['blocks.0.attn.temperature', 'blocks.1.attn.temperature']);
    expect([...own[1]!.initial(1, 0)]).toEqual(Array(3).fill(Math.fround(1 / Math.sqrt(8))));
    expect(decayRule('matrices')(own[1]!)).toBe(false);
    expect(layerDecayScale(0.5, local.layers())(own[1]!)).toBe(0.5);
    expect(hiddenMatrices(own)).toEqual([]);
  });

  it('refuses --layer-decay for a parameter that is in no layer, by its name', () => {
    const parameter = new Parameter([2, 2], zeros);
    parameter.name = 'stem.weight';
    const place = () => layerDecayScale(0.5, model.layers())(parameter);
    expect(place).toThrow(ConfigError);
    expect(place).toThrow(/--layer-decay 0.5 .* stem\.weight.* --layer-decay 1/);
  });

  it('refuses --layer-decay for a model that names no layers', () => {
    const build = () =>
      buildOptimizer(
        gpuOf(),
        { parameters: () => [], layers: () => null },
        resolveSettings({ layerDecay: 0.5 }),
      );
    expect(build).toThrow(ConfigError);
    expect(build).toThrow(/--layer-decay 0.5 needs a model that lists its layers.* Use --layer-decay 1\./);
  });

  it('refuses --optimizer muon for a model that has no matrices to move', () => {
    const head = parameters.get('head.weight')!;
    const headless = { parameters: () => [head], layers: () => null };
    const build = (optimizer: Settings['optimizer']) => () =>
      buildOptimizer(gpuOf(), headless, resolveSettings({ optimizer }));
    expect(build('muon')).toThrow(ConfigError);
    expect(build('muon')).toThrow(/--optimizer adamw/);
    expect(build('adamw')).not.toThrow();
  });
});

describe('settings', () => {
  it.each<[Partial<Settings>, object]>([
    [
      {},
      {
        dropout: 0,
        embedDropout: 0,
        mlpDropout: 0,
        residualDropout: 0,
        dropPathMode: 'linear',
        posEmbed: 'learn',
      },
    ],
    [
      { dropout: 0.2 },
      { dropout: 0.2, embedDropout: 0.2, mlpDropout: 0.2, residualDropout: 0.2, attentionDropout: 0 },
    ],
    [
      { dropout: 0.2, mlpDropout: 0 },
      { embedDropout: 0.2, mlpDropout: 0, residualDropout: 0.2 },
    ],
    [{ residualDropout: 0.3 }, { embedDropout: 0, mlpDropout: 0, residualDropout: 0.3 }],
  ])('%o make a model with %o', (settings, expected) => {
    expect(buildModel(resolveSettings(settings), dataset).config).toMatchObject(expected);
  });

  it.each([
    [{ mlpDropout: -0.5 }, /--mlp-dropout must be at least 0, or -1, not -0.5/],
    [{ embedDropout: 1 }, /--embed-dropout must be below 1/],
    [{ residualDropout: -2 }, /--residual-dropout must be at least 0, or -1, not -2/],
    [{ schedule: 'one-cycle', warmupEpochs: 1 }, /--schedule one-cycle has a warm-up .* --warmup-epochs 0/],
    [{ schedule: 'one-cycle', minLr: 1e-6 }, /--schedule one-cycle .* --min-lr 0/],
    [{ flip: 'alternating', augment: 'none' }, /--flip alternating needs flips: use --flip random/],
    [{ schedule: 'linear', minLr: 1 }, /--min-lr 1 must not exceed --learning-rate 0.001/],
    [
      { optimizer: 'muon', muonLearningRate: 0.1, learningRate: 0, minLr: 0 },
      /--muon-learning-rate 0\.1 follows the schedule of --learning-rate, which must be above 0/,
    ],
    [{ muonMomentum: 1 }, /--muon-momentum must be below 1/],
    [{ muonSteps: 0 }, /--muon-steps must be at least 1/],
    [{ keepTokens: 1.1 }, /--keep-tokens must be at most 1/],
    [{ layerDecay: 0 }, /--layer-decay must be above 0 and at most 1, not 0/],
    [{ layerDecay: 1.1 }, /--layer-decay must be above 0 and at most 1, not 1.1/],
    [{ optimizer: 'sgd' }, /--optimizer must be one of adamw, muon/],
    [{ regTokens: 1.5 }, /--reg-tokens must be a whole number/],
    [{ layerScale: -1 }, /--layer-scale must be at least 0/],
  ])('refuse %o', (layer, says) => {
    expect(() => resolveSettings(layer)).toThrow(says);
  });
});
