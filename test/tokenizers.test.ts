/** Tokenizers that are no plain patch embedding, against the papers' formulas in float64: values, gradients, operations. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.js';
import { ConfigError, FormatError } from '../src/core/errors.js';
import { decodeSafetensors } from '../src/io/safetensors.js';
import { VisionTransformer } from '../src/models/vit.js';
import type { VitOptions } from '../src/models/vit_config.js';
import { ConvStem } from '../src/nn/conv_stem.js';
import { schemes } from '../src/nn/init.js';
import { PatchEmbed, type Tokenizer } from '../src/nn/patch_embed.js';
import { ShiftedPatches } from '../src/nn/shifted_patches.js';
import { geluOp } from '../src/ops/gelu.js';
import { buildModel } from '../src/recipe/model.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { imagesOf, loadWeights, readRun } from '../src/runs/saved_run.js';
import { Trainer } from '../src/runs/trainer.js';
import { Arena } from '../src/tensor/arena.js';
import { Tensor } from '../src/tensor/tensor.js';
import { scratch } from './faults/common.js';
import { trainerInput } from './faults/run.js';
import { normals, withGpu, worst } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();

/** Channels of one image: planes[c][row][column]. */
type Planes = number[][][];
type Values = ReadonlyMap<string, Float64Array>;

const EPS = 1e-6;

/** Multiply-adds of the matrix products so far. */
let products = 0;

/** torch.nn.functional.conv2d of one image, by its definition. */
function conv2d(
  x: Planes,
  weight: Float64Array,
  bias: Float64Array,
  kernel: number,
  stride: number,
  padding: number,
): Planes {
  const side = (size: number) => Math.floor((size + 2 * padding - kernel) / stride) + 1;
  const [inputs, rows, columns] = [x.length, side(x[0]!.length), side(x[0]![0]!.length)];
  return Array.from(bias, (b, o) =>
    Array.from({ length: rows }, (_, r) =>
      Array.from({ length: columns }, (_, c) => {
        let y = b;
        for (let i = 0; i < inputs; i++)
          for (let dr = 0; dr < kernel; dr++)
            for (let dc = 0; dc < kernel; dc++) {
              products++;
              const value = x[i]![r * stride + dr - padding]?.[c * stride + dc - padding] ?? 0;
              y += value * weight[((o * inputs + i) * kernel + dr) * kernel + dc]!;
            }
        return y;
      }),
    ),
  );
}

/** torch.nn.functional.layer_norm of one row. */
function layerNorm(row: number[], weight: Float64Array, bias: Float64Array): number[] {
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length;
  return row.map((v, i) => ((v - mean) / Math.sqrt(variance + EPS)) * weight[i]! + bias[i]!);
}

const gelu = (row: number[]): number[] => [
  ...geluOp.reference({ x: Float64Array.from(row) }, { x: [row.length] }, { approximate: 'none' }),
];

/** The channels of each place, row by row. */
const placesOf = (x: Planes): number[][] =>
  x[0]!.flatMap((row, r) => row.map((_, c) => x.map((plane) => plane[r]![c]!)));

const planesOf = (places: number[][], columns: number): Planes =>
  places[0]!.map((_, o) =>
    Array.from({ length: places.length / columns }, (_, r) =>
      places.slice(r * columns, (r + 1) * columns).map((it) => it[o]!),
    ),
  );

/** Xiao et al.: 3 x 3 convolutions of stride 2, each with a normalisation and an activation, then a 1 x 1 convolution. */
function stem(x: Planes, values: Values, stages: number): number[][] {
  for (let i = 0; i < stages; i++) {
    const of = (name: string) => values.get(`stages.${i}.${name}`)!;
    const y = conv2d(x, of('conv.weight'), of('conv.bias'), 3, 2, 1);
    const places = placesOf(y).map((place) => gelu(layerNorm(place, of('norm.weight'), of('norm.bias'))));
    x = planesOf(places, y[0]![0]!.length);
  }
  return placesOf(conv2d(x, values.get('project.weight')!, values.get('project.bias')!, 1, 1, 0));
}

/** Lee, Lee and Song: padded by half a patch, cut out at the four corners, concatenated, patches, LayerNorm, linear. */
function shifted(x: Planes, values: Values, patch: number): number[][] {
  const s = Math.floor(patch / 2);
  const [rows, columns] = [x[0]!.length, x[0]![0]!.length];
  const padded = x.map((plane) =>
    Array.from({ length: rows + 2 * s }, (_, r) =>
      Array.from({ length: columns + 2 * s }, (_, c) => plane[r - s]?.[c - s] ?? 0),
    ),
  );
  const corner = (top: number, left: number): Planes =>
    padded.map((plane) => plane.slice(top, top + rows).map((row) => row.slice(left, left + columns)));
  const all = [...x, ...corner(0, 0), ...corner(0, 2 * s), ...corner(2 * s, 0), ...corner(2 * s, 2 * s)];
  const of = (name: string) => values.get(name)!;
  const tokens: number[][] = [];
  for (let r = 0; r < rows; r += patch)
    for (let c = 0; c < columns; c += patch) {
      const cut = all.flatMap((plane) => plane.slice(r, r + patch).flatMap((row) => row.slice(c, c + patch)));
      const normal = layerNorm(cut, of('norm.weight'), of('norm.bias'));
      const bias = of('linear.bias');
      tokens.push(
        Array.from(bias, (b, o) =>
          normal.reduce((y, v, i) => {
            products++;
            return y + v * of('linear.weight')[o * normal.length + i]!;
          }, b),
        ),
      );
    }
  return tokens;
}

interface Case {
  readonly tokenizer: () => Tokenizer;
  readonly size: readonly [number, number];
  readonly shapes: Readonly<Record<string, number[]>>;
  reference(x: Planes, values: Values): number[][];
}

const C = 2;
const square = (patch: number) =>
  ({ patch: [patch, patch], stride: [patch, patch], padding: [0, 0] }) as const;
const init = schemes.timm;
const cases: [string, Case][] = [
  [
    'shifted, patches of 4',
    {
      tokenizer: () => new ShiftedPatches(C, 6, square(4), { eps: EPS, init }),
      size: [8, 12],
      shapes: { 'norm.weight': [160], 'norm.bias': [160], 'linear.weight': [6, 160], 'linear.bias': [6] },
      reference: (x, values) => shifted(x, values, 4),
    },
  ],
  [
    'shifted, patches of 3',
    {
      tokenizer: () => new ShiftedPatches(C, 5, square(3), { eps: EPS, init }),
      size: [6, 3],
      shapes: { 'norm.weight': [90], 'norm.bias': [90], 'linear.weight': [5, 90], 'linear.bias': [5] },
      reference: (x, values) => shifted(x, values, 3),
    },
  ],
  [
    'conv, patches of 2',
    {
      tokenizer: () => new ConvStem(C, 7, 2, EPS),
      size: [4, 6],
      shapes: {
        ...{ 'stages.0.conv.weight': [7, 2, 3, 3], 'stages.0.conv.bias': [7] },
        ...{ 'stages.0.norm.weight': [7], 'stages.0.norm.bias': [7] },
        ...{ 'project.weight': [7, 7], 'project.bias': [7] },
      },
      reference: (x, values) => stem(x, values, 1),
    },
  ],
  [
    'conv, patches of 8',
    {
      tokenizer: () => new ConvStem(C, 10, 8, EPS),
      size: [16, 8],
      shapes: {
        ...{ 'stages.0.conv.weight': [3, 2, 3, 3], 'stages.0.conv.bias': [3] },
        ...{ 'stages.0.norm.weight': [3], 'stages.0.norm.bias': [3] },
        ...{ 'stages.1.conv.weight': [5, 3, 3, 3], 'stages.1.conv.bias': [5] },
        ...{ 'stages.1.norm.weight': [5], 'stages.1.norm.bias': [5] },
        ...{ 'stages.2.conv.weight': [10, 5, 3, 3], 'stages.2.conv.bias': [10] },
        ...{ 'stages.2.norm.weight': [10], 'stages.2.norm.bias': [10] },
        ...{ 'project.weight': [10, 10], 'project.bias': [10] },
      },
      reference: (x, values) => stem(x, values, 3),
    },
  ],
];

describe.each(cases)('the tokenizer %s', (_, { tokenizer: make, size: [H, W], shapes, reference }) => {
  const B = 2;
  const pixels = normals([B, C, H, W], 3);

  /** Random values for every parameter; those of the norms are around 1 and 0. */
  const valuesOf = (tokenizer: Tokenizer) =>
    new Map(
      tokenizer.parameters().map(({ name, shape }, i) => {
        const around = /norm.weight$/.test(name) ? 1 : 0;
        return [name, normals(shape, 10 + i).map((value) => around + 0.3 * value)] as const;
      }),
    );

  const tokensOf = (values: ReadonlyMap<string, ArrayLike<number>>, input: ArrayLike<number>): number[][] => {
    const wide = new Map([...values].map(([name, each]) => [name, Float64Array.from(each)]));
    return Array.from({ length: B }, (_, b) => {
      const planes = Array.from({ length: C }, (_, c) =>
        Array.from({ length: H }, (_, r) =>
          Array.from({ length: W }, (_, i) => input[((b * C + c) * H + r) * W + i]!),
        ),
      );
      return reference(planes, wide);
    }).flat();
  };

  it('has parameters of its own', () => {
    const found = make()
      .parameters()
      .map(({ name, shape }) => [name, shape]);
    expect(Object.fromEntries(found)).toEqual(shapes);
  });

  it('computes the tokens of the paper, and their gradients', async () => {
    const gpu = gpuOf();
    const tokenizer = make();
    const values = valuesOf(tokenizer);
    const arena = new Arena(gpu, tokenizer.parameters(), () => true);
    arena.write(arena.values, ({ name }) => values.get(name)!);
    const x = Tensor.from(gpu, pixels, [B, C, H, W]);
    x.requiresGrad = true;
    x.grad = Tensor.zeros(gpu, x.shape);
    const expected = tokensOf(values, pixels);
    const tape = new Tape();
    const tokens = tape.run(() => tokenizer.forward(x));
    const shape = [B, expected.length / B, expected[0]!.length];
    expect(tokens.shape).toEqual(shape);
    const { ratio } = worst(await tokens.toFloat32(), expected.flat(), () => 2e-5);
    expect(ratio).toBeLessThanOrEqual(1);
    // The loss is the sum of the tokens' values, each times a number of its own.
    const weights = normals(shape, 7);
    tape.backward(tokens, { gradient: Tensor.from(gpu, weights, shape) });
    const gradients = await arena.read(arena.gradients);
    gradients.set('images', (await x.grad.toFloat32()) as Float32Array<ArrayBuffer>);
    // The slope of the loss in a random direction of each parameter, by central differences of the formula.
    const lossOf = (changed: ReadonlyMap<string, ArrayLike<number>>) =>
      tokensOf(changed, changed.get('images')!)
        .flat()
        .reduce((all, y, i) => all + y * weights[i]!, 0);
    const all = new Map<string, ArrayLike<number>>([...values, ['images', pixels]]);
    for (const [name, gradient] of gradients) {
      const direction = normals([gradient.length], 99);
      const moved = (by: number) =>
        lossOf(
          new Map([...all, [name, Float64Array.from(all.get(name)!, (v, i) => v + by * direction[i]!)]]),
        );
      const slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
      const found = gradient.reduce((total, g, i) => total + g * direction[i]!, 0);
      const length = Math.sqrt(gradient.reduce((total, g) => total + g * g, 0));
      expect(length, name).toBeGreaterThan(1e-3);
      expect(Math.abs(found - slope), name).toBeLessThanOrEqual(
        1e-4 * length * Math.sqrt(gradient.length) + 1e-4,
      );
    }
  });

  it('counts the operations of its matrix products', () => {
    const tokenizer = make();
    products = 0;
    tokensOf(valuesOf(tokenizer), pixels);
    expect(tokenizer.flops([H, W])).toBe((2 * products) / B);
  });
});

describe('a model with such a tokenizer', () => {
  const folder = scratch('tokenizers');
  const dataset = images({ train: 20, test: 10 });
  const settings = (more: Partial<Settings> = {}) =>
    resolveSettings({
      ...{ embedDim: 16, depth: 1, numHeads: 2, patchSize: 16, mlpRatio: 1, batchSize: 20, epochs: 1 },
      ...more,
    });
  const prepare = (name: string, more: Partial<Settings>, init?: string) =>
    Trainer.prepare(trainerInput(gpuOf(), join(folder, name), { dataset, settings: settings(more), init }));
  const weightsOf = (name: string) => join(folder, name, 'checkpoints', 'final.safetensors');

  it.each(['patch', 'shifted', 'conv'] as const)(
    '%s is trained, read again, and loads no other tokenizer',
    async (tokenizer) => {
      const trainer = await prepare(tokenizer, { tokenizer });
      await trainer.run();
      const kept = await trainer.training.arena.read(trainer.training.arena.values);
      trainer.release();
      const run = readRun(join(folder, tokenizer));
      const model = buildModel(run.settings, imagesOf(run));
      loadWeights(gpuOf(), model, run);
      for (const { name, tensor } of model.parameters())
        expect(await tensor.toFloat32(), name).toEqual(kept.get(name));
      const names = [...decodeSafetensors('', readFileSync(weightsOf(tokenizer))).tensors.keys()];
      expect(names.filter((name) => name.startsWith('patch_embed.'))).toEqual(
        model
          .paths()
          .map(([name]) => name)
          .filter((name) => name.startsWith('patch_embed.')),
      );
      (await prepare(`${tokenizer} again`, { tokenizer }, weightsOf(tokenizer))).release();
      for (const other of ['patch', 'shifted', 'conv'] as const) {
        if (other === tokenizer) continue;
        const started = prepare(`${tokenizer} as ${other}`, { tokenizer: other }, weightsOf(tokenizer));
        await expect(started).rejects.toThrow(FormatError);
        await expect(started).rejects.toThrow(/does not fit this model: patch_embed\..* is missing/);
      }
    },
  );

  it.each<[VitOptions, string, string, RegExp]>([
    [{}, '192/12/3 p4 mlp 4 cls', 'patch_embed.proj ', /, patches of 4 x 4 \(65 tokens\)/],
    [
      { tokenizer: 'shifted' },
      '192/12/3 p4 shifted mlp 4 cls',
      'patch_embed ',
      /shifted patches of 4 x 4 \(65/,
    ],
    [
      { tokenizer: 'conv' },
      '192/12/3 p4 conv mlp 4 cls',
      'patch_embed ',
      /a convolutional stem for patches of 4 x 4/,
    ],
  ])('with %j says so', (options, label, row, describes) => {
    const model = new VisionTransformer(options);
    expect(model.label).toBe(label);
    expect(model.describe()).toMatch(describes);
    expect(model.summary()).toContain(`  ${row}`);
    const plain = new VisionTransformer();
    const embeds = ({ patchEmbed }: VisionTransformer) => patchEmbed.flops([32, 32]);
    expect(model.flops() - plain.flops()).toBe(embeds(model) - embeds(plain));
    expect(model.patchEmbed instanceof PatchEmbed).toBe(options.tokenizer === undefined);
  });

  it.each<[VitOptions, RegExp]>([
    [{ tokenizer: 'conv', patchInit: 'whiten' }, /patch_init whiten needs the tokenizer patch.* it is conv/],
    [{ tokenizer: 'shifted', patchInit: 'whiten' }, /patch_init whiten .* it is shifted/],
    [
      { tokenizer: 'conv', freezePatchEmbed: true },
      /freeze_patch_embed needs the tokenizer patch.* it is conv/,
    ],
    [{ tokenizer: 'shifted', freezePatchEmbed: true }, /freeze_patch_embed .* it is shifted/],
    [{ tokenizer: 'conv', patchSize: 1 }, /conv needs a patch size of 2, 4, 8, 16 or .*, not 1 x 1/],
    [{ tokenizer: 'conv', patchSize: 6, imageSize: 36 }, /conv needs a patch size .*, not 6 x 6/],
    [{ tokenizer: 'conv', patchSize: [4, 8] }, /conv needs a patch size .*, not 4 x 8/],
    [
      { tokenizer: 'conv', patchSize: 4, stride: 2 },
      /conv needs a stride equal to the patch size, and no padding/,
    ],
    [{ tokenizer: 'conv', patchSize: 4, padding: 2 }, /conv needs a stride equal .* no padding/],
  ])('refuses %j', (options, says) => {
    const construct = () => new VisionTransformer(options);
    expect(construct).toThrow(ConfigError);
    expect(construct).toThrow(says);
  });
});
