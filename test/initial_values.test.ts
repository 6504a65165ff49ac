/** Initial values that are computed: whitened patch embeddings, orthogonal weights, mimetic attention, a head of zeros. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Counter, stream } from '../src/core/rng.js';
import { normalisedImages, sampleRecords } from '../src/data/sample.js';
import { uploadSplit } from '../src/data/store.js';
import { VisionTransformer } from '../src/models/vit.js';
import type { VitOptions } from '../src/models/vit_config.js';
import { type NormalisedImages, patchMoments, whiten } from '../src/nn/whiten.js';
import { gatherBatch } from '../src/ops/batch.js';
import { im2colOp, type PatchGeometry, patchGrid } from '../src/ops/im2col.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { Trainer } from '../src/runs/trainer.js';
import { Tensor } from '../src/tensor/tensor.js';
import { stepMemory } from '../src/training/forecast.js';
import { setup } from '../src/training/setup.js';
import { scratch } from './faults/common.js';
import { trainerInput } from './faults/run.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
const folder = scratch('initial-values');
const dataset = images({ train: 60, test: 10 });

const square = (size: number): PatchGeometry => ({
  patch: [size, size],
  stride: [size, size],
  padding: [0, 0],
});

/** Images of the data set, and their patches (count, n) as the specification of im2col cuts them. */
async function patchesOf(geometry: PatchGeometry, count = 60) {
  const split = await dataset.load('train');
  const pixels = normalisedImages(
    dataset,
    split,
    Uint32Array.from({ length: count }, (_, i) => i),
    'cifar',
  );
  const { channels, height, width } = dataset;
  const shape = [count, channels, height, width];
  const patches = im2colOp.reference({ x: Float64Array.from(pixels) }, { x: shape }, geometry);
  const n = channels * geometry.patch[0] * geometry.patch[1];
  const given: NormalisedImages = { pixels, channels, height, width };
  return { given, patches, n, count: patches.length / n };
}

/** The mean of y[i] · y[j] over the patches, y the outputs of the weight's first `rows` rows. */
function outputMoments(weight: Float32Array, rows: number, patches: Float64Array, n: number): Float64Array {
  const count = patches.length / n;
  const moments = new Float64Array(rows * rows);
  for (let p = 0; p < count; p++) {
    const patch = patches.subarray(p * n, (p + 1) * n);
    const y = Array.from({ length: rows }, (_, i) =>
      patch.reduce((sum, x, e) => sum + x * weight[i * n + e]!, 0),
    );
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < rows; j++) moments[i * rows + j]! += (y[i]! * y[j]!) / count;
  }
  return moments;
}

describe('a whitened patch embedding', () => {
  it.each<[string, PatchGeometry]>([
    ['patches of 4', square(4)],
    ['rectangles that overlap, beyond the border', { patch: [2, 4], stride: [2, 3], padding: [1, 2] }],
  ])('sums the moments of %s in float64', async (_, geometry) => {
    const { given, patches, n, count } = await patchesOf(geometry, 3);
    expect(count).toBe(3 * patchGrid([32, 32], geometry).reduce((a, b) => a * b));
    const moments = patchMoments(given, geometry);
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let p = 0; p < count; p++) sum += patches[p * n + i]! * patches[p * n + j]!;
        expect(Math.abs(moments[i * n + j]! - sum / count)).toBeLessThan(1e-12);
      }
  });

  it('gives uncorrelated outputs of standard deviation 1/√3, but where the images have no variance', async () => {
    const geometry = square(4);
    const { given, patches, n } = await patchesOf(geometry);
    const weight = new Float32Array(n * n);
    whiten(weight, given, geometry);
    const moments = outputMoments(weight, n, patches, n);
    let last = 1;
    for (let i = 0; i < n; i++) {
      const share = 3 * moments[i * n + i]!; // λ/(λ + 5e-4)
      expect(share).toBeLessThanOrEqual(last + 1e-4); // by descending eigenvalue
      last = share;
      for (let j = 0; j < i; j++) expect(Math.abs(moments[i * n + j]!)).toBeLessThan(1e-5);
    }
    expect(3 * moments[0]!).toBeGreaterThan(0.9999);
    // The row's own length says λ: |row|² = 1/(3(λ + eps)).
    for (let i = 0; i < n; i++) {
      const length = weight.subarray(i * n, (i + 1) * n).reduce((sum, w) => sum + w * w, 0);
      const lambda = 1 / (3 * length) - 5e-4;
      expect(3 * moments[i * n + i]!).toBeCloseTo(lambda / (lambda + 5e-4), 4);
    }
  });

  it.each([5, 48, 60, 96, 110])(
    'has eigenvectors, their negatives, then default rows: width %i',
    async (D) => {
      const geometry = square(4);
      const { given, n } = await patchesOf(geometry);
      const full = new Float32Array(n * n);
      whiten(full, given, geometry);
      const drawn = Float32Array.from({ length: D * n }, (_, i) => i);
      const weight = drawn.slice();
      whiten(weight, given, geometry);
      for (let row = 0; row < D; row++) {
        const expected =
          row < n
            ? full.subarray(row * n, (row + 1) * n)
            : row < 2 * n
              ? full.subarray((row - n) * n, (row - n + 1) * n).map((value) => -value)
              : drawn.subarray(row * n, (row + 1) * n);
        expect(weight.slice(row * n, (row + 1) * n), `row ${row}`).toEqual(expected.slice());
      }
    },
  );

  it('reads images as training normalises them', async () => {
    const split = await dataset.load('train');
    const records = Uint32Array.of(7, 0, 59);
    for (const normalize of ['cifar', 'half'] as const) {
      const store = uploadSplit(gpuOf(), dataset, split, normalize);
      const made = Tensor.empty(gpuOf(), [3, 3, 32, 32], 'f32', 'images');
      const labels = Tensor.empty(gpuOf(), [3], 'u32', 'labels');
      gatherBatch(store, Tensor.from(gpuOf(), records), made, labels);
      const device = await made.toFloat32();
      const host = normalisedImages(dataset, split, records, normalize);
      expect(host).toHaveLength(device.length);
      for (const [i, value] of device.entries()) expect(Math.abs(host[i]! - value)).toBeLessThan(1e-5);
    }
  });

  it('draws images by the seed, without repetition, and all where there are few', () => {
    const records = Uint32Array.from({ length: 100 }, (_, i) => 1000 + i);
    const drawn = sampleRecords(records, 40, 3);
    expect(new Set(drawn).size).toBe(40);
    expect(drawn.every((record) => records.includes(record))).toBe(true);
    expect(sampleRecords(records, 40, 3)).toEqual(drawn);
    expect(sampleRecords(records, 40, 4)).not.toEqual(drawn);
    expect([...sampleRecords(records, 5000, 3)].sort()).toEqual([...records]);
  });
});

describe('a run with --patch-init whiten', () => {
  const settings = (more: Partial<Settings> = {}) =>
    resolveSettings({
      ...{ embedDim: 120, depth: 1, numHeads: 2, patchSize: 4, mlpRatio: 1, batchSize: 20, epochs: 1 },
      ...{ patchInit: 'whiten', valSplit: 10, seed: 9 },
      ...more,
    });
  const spied = () => vi.spyOn(VisionTransformer.prototype, 'fromImages');
  afterEach(() => vi.restoreAllMocks());

  it('whitens the images to train on; everything else starts as by default', async () => {
    const split = await dataset.load('train');
    const values = async (more: Partial<Settings>) => {
      const training = await setup(gpuOf(), settings(more), dataset);
      const read = await training.arena.read(training.arena.values);
      training.release();
      return { read, held: training.validation.records };
    };
    const { read, held } = await values({});
    const plain = await values({ patchInit: 'default' });
    const used = Uint32Array.from({ length: 60 }, (_, i) => i).filter((record) => !held.includes(record));
    expect(used).toHaveLength(50);
    const pixels = normalisedImages(dataset, split, used, 'cifar');
    const expected = plain.read.get('patch_embed.proj.weight')!.slice();
    whiten(expected, { pixels, channels: 3, height: 32, width: 32 }, square(4));
    const found = read.get('patch_embed.proj.weight')!;
    // The images are summed in another order, so eigenvectors of close eigenvalues may differ: compare W·Wᵀ's diagonal.
    for (let row = 0; row < 96; row++) {
      const length = (weight: Float32Array) =>
        Math.sqrt(weight.subarray(row * 48, (row + 1) * 48).reduce((sum, w) => sum + w * w, 0));
      expect(length(found) / length(expected)).toBeCloseTo(1, 5);
    }
    expect(found.subarray(96 * 48)).toEqual(expected.subarray(96 * 48));
    expect(new Set(read.get('patch_embed.proj.bias'))).toEqual(new Set([0]));
    for (const [name, others] of plain.read)
      if (!name.startsWith('patch_embed')) expect(read.get(name), name).toEqual(others);
    expect((await values({})).read.get('patch_embed.proj.weight')).toEqual(found);
  });

  it('computes nothing for a forecast of memory, for --init and for --resume', async () => {
    const prepare = async (path: string, more: { init?: string; resume?: string } = {}) => {
      const input = trainerInput(gpuOf(), `${folder}/${path}`, { dataset, settings: settings(), ...more });
      return Trainer.prepare(input);
    };
    const calls = spied();
    await stepMemory(gpuOf(), settings(), dataset);
    expect(calls).not.toHaveBeenCalled();
    const trainer = await prepare('first');
    expect(calls).toHaveBeenCalledTimes(1);
    await trainer.run();
    trainer.release();
    (await prepare('second', { init: `${folder}/first/checkpoints/final.safetensors` })).release();
    (await prepare('first', { resume: `${folder}/first` })).release();
    expect(calls).toHaveBeenCalledTimes(1);
  });

  it.each<[string, VitOptions, boolean]>([
    ['whiten', { patchInit: 'whiten' }, true],
    ['default', {}, false],
  ])('a model with %s asks for images: %s', (_, options, asks) => {
    expect(new VisionTransformer(options).fromImages() !== null).toBe(asks);
  });
});

/** The initial values of a model's parameters, by name. */
function initial(options: VitOptions, seed = 5): Map<string, Float32Array> {
  const model = new VisionTransformer({ imageSize: 8, ...options });
  return new Map(model.parameters().map((parameter, i) => [parameter.name, parameter.initial(seed, i)]));
}

/** aᵀ · b of two matrices with D columns each. */
function acrossRows(a: Float32Array, b: Float32Array, D: number): Float64Array {
  return Float64Array.from({ length: D * D }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < a.length / D; k++) sum += a[k * D + Math.floor(at / D)]! * b[k * D + (at % D)]!;
    return sum;
  });
}

describe('--init-scheme orthogonal', () => {
  const D = 24;
  const model = { embedDim: D, depth: 2, numHeads: 3, mlpRatio: 2, classes: 5 };
  const values = initial({ ...model, initScheme: 'orthogonal' });

  it.each<[string, number, number, number]>([
    ['attn.qkv.weight', 3, D, D],
    ['attn.proj.weight', 1, D, D],
    ['mlp.fc1.weight', 1, 2 * D, D],
    ['mlp.fc2.weight', 1, D, 2 * D],
  ])(
    '%s: %i matrices (%i, %i) with orthonormal rows or columns, and a zero bias',
    (name, parts, rows, columns) => {
      for (const block of ['blocks.0', 'blocks.1']) {
        const weight = values.get(`${block}.${name}`)!;
        expect(weight).toHaveLength(parts * rows * columns);
        for (let part = 0; part < parts; part++) {
          const at = (i: number, j: number) => weight[(part * rows + i) * columns + j]!;
          const few = Math.min(rows, columns);
          for (let i = 0; i < few; i++)
            for (let j = 0; j < few; j++) {
              let sum = 0;
              for (let k = 0; k < Math.max(rows, columns); k++)
                sum += rows <= columns ? at(i, k) * at(j, k) : at(k, i) * at(k, j);
              expect(Math.abs(sum - Number(i === j))).toBeLessThan(1e-6);
            }
        }
        expect(new Set(values.get(`${block}.${name.replace('weight', 'bias')}`))).toEqual(new Set([0]));
      }
      expect(values.get(`blocks.0.${name}`)).not.toEqual(values.get(`blocks.1.${name}`));
    },
  );

  it('leaves everything that is no linear layer as timm has it', () => {
    const timm = initial(model);
    for (const [name, expected] of timm)
      if (!/(qkv|proj|fc1|fc2|head)\.weight$/.test(name) || name.startsWith('patch_embed'))
        expect(values.get(name), name).toEqual(expected);
    expect(values.get('head.weight')).not.toEqual(timm.get('head.weight'));
  });
});

describe('--attention-init mimetic', () => {
  const [D, heads, depth, seed] = [24, 3, 2, 5];
  const size = D / heads;
  const model: VitOptions = { embedDim: D, depth, numHeads: heads, mlpRatio: 2 };
  const values = initial({ ...model, attentionInit: 'mimetic', initScheme: 'pytorch' }, seed);
  const weight = (block: number, name: string) => values.get(`blocks.${block}.attn.${name}.weight`)!;
  /** The matrix that a block draws as its number `place`: spread · Z + diagonal · I. */
  const drawn = (block: number, place: number, spread: number, diagonal: number) => {
    const counter = new Counter(seed, stream.pair, block, place * D * D);
    return Float64Array.from({ length: D * D }, (_, i) => {
      const identity = Math.floor(i / D) === i % D ? diagonal : 0;
      return (spread / Math.sqrt(D)) * counter.normal() + identity;
    });
  };

  it.each([0, 1])('values times output projection of block %i are 0.4 Z − 0.4 I', (block) => {
    const value = weight(block, 'qkv').subarray(2 * D * D);
    const proj = weight(block, 'proj');
    // x · Wvᵀ · Wprojᵀ for the unit vectors x.
    const found = Float64Array.from({ length: D * D }, (_, at) => {
      let sum = 0;
      for (let k = 0; k < D; k++) sum += value[k * D + Math.floor(at / D)]! * proj[(at % D) * D + k]!;
      return sum;
    });
    const expected = drawn(block, heads, 0.4, -0.4);
    for (const [i, each] of expected.entries()) expect(Math.abs(found[i]! - each)).toBeLessThan(1e-6);
  });

  it.each([0, 1])(
    'queries times keys of block %i are the best part of rank head_dim of 0.7 Z + 0.7 I',
    (block) => {
      const qkv = weight(block, 'qkv');
      for (let head = 0; head < heads; head++) {
        const part = (from: number) => qkv.subarray((from + head * size) * D, (from + (head + 1) * size) * D);
        const scores = acrossRows(part(0), part(D), D); // q · kᵀ = x · Wqᵀ · Wk · xᵀ
        const whole = drawn(block, head, 0.7, 0.7);
        const rest = Float32Array.from(whole, (value, i) => value - scores[i]!);
        // The rest shares no direction with the kept part, and any other part of this rank would leave a larger one.
        const shared = acrossRows(rest, Float32Array.from(scores), D);
        expect(Math.max(...shared.map(Math.abs))).toBeLessThan(1e-5);
        const square = (x: ArrayLike<number>) => Array.from(x).reduce((sum, value) => sum + value * value, 0);
        expect(square(rest)).toBeCloseTo(square(whole) - square(scores), 4);
        expect(square(scores) / square(whole)).toBeGreaterThan(1.5 * (size / D));
      }
    },
  );

  it('has zero biases, new numbers in every block, head and seed, and changes nothing else', () => {
    const plain = initial({ ...model, initScheme: 'pytorch' }, seed);
    for (const [name, expected] of plain)
      if (!/attn\.(qkv|proj)\./.test(name)) expect(values.get(name), name).toEqual(expected);
      else if (name.endsWith('bias')) expect(new Set(values.get(name)), name).toEqual(new Set([0]));
    expect(weight(0, 'qkv')).not.toEqual(weight(1, 'qkv'));
    expect(weight(0, 'qkv').subarray(0, size * D)).not.toEqual(
      weight(0, 'qkv').subarray(size * D, 2 * size * D),
    );
    const others = initial({ ...model, attentionInit: 'mimetic' }, seed + 1);
    expect(others.get('blocks.0.attn.proj.weight')).not.toEqual(weight(0, 'proj'));
  });
});

it.each(['timm', 'pytorch', 'orthogonal'] as const)(
  '--zero-head with %s starts the head at zero, and nothing else',
  (initScheme) => {
    const model = { embedDim: 8, depth: 1, initScheme };
    const [plain, zero] = [initial(model), initial({ ...model, zeroHead: true })];
    for (const [name, expected] of plain)
      if (name.startsWith('head.')) expect(new Set(zero.get(name))).toEqual(new Set([0]));
      else expect(zero.get(name), name).toEqual(expected);
  },
);
