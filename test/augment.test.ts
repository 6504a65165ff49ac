/** Training batches follow their plans, eager and recorded; mixing; evaluation is not augmented. */
import { describe, expect, it, vi } from 'vitest';
import { pcg4d, stream, unit } from '../src/core/rng.js';
import { type AugmentationOptions, planImage } from '../src/data/augmentation.js';
import type { MixingOptions } from '../src/data/mixing.js';
import { generateShapes10 } from '../src/data/shapes10.js';
import { TrainingBatch, type TrainingInput } from '../src/data/training_batch.js';
import { augmentBatch, mixImages, mixTargets } from '../src/ops/augment.js';
import { gatherBatch, type ImageStore } from '../src/ops/batch.js';
import { type BatchPlan, encodeHeader, encodePlans, type Frame, NO_MIX } from '../src/ops/batch_plan.js';
import { augmentationOptions } from '../src/recipe/augmentation.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { fit } from '../src/training/fit.js';
import { setup } from '../src/training/setup.js';
import { type Image, referenceOp, referenceResize } from './augment_reference.js';
import { withGpu, worst } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();

const whole = (height: number, width: number): Frame => ({
  flip: false,
  top: 0,
  left: 0,
  height,
  width,
  erase: null,
});

/** Images (n, 3, H, W) as a data set on the device; its normalisation keeps the bytes' values. */
function storeOf(images: readonly Image[], labels: readonly number[]): ImageStore {
  const planes = images.flatMap(({ bytes }) =>
    [0, 1, 2].flatMap((c) => [...bytes.filter((_, i) => i % 3 === c)]),
  );
  const gpu = gpuOf();
  return {
    parts: [{ first: 0, count: images.length, images: Tensor.from(gpu, Uint8Array.from(planes)) }],
    labels: Tensor.from(gpu, Uint32Array.from(labels)),
    norm: Tensor.from(gpu, Float32Array.of(1, 1, 1, 0, 0, 0), [2, 3]),
  };
}

const headerOf = (seed: number, step: number, mix = NO_MIX): Tensor =>
  Tensor.from(gpuOf(), encodeHeader({ seed, step, mix }));

const SHAPE = [3, 32, 32] as const;
const SIZE = { height: 32, width: 32 };
const COUNT = 21;
const samples: Image[] = (() => {
  const { images } = generateShapes10('train', COUNT);
  return Array.from({ length: COUNT }, (_, n) => ({
    ...SIZE,
    bytes: Uint8Array.from(
      { length: 3072 },
      (_, i) => images[n * 3072 + (i % 3) * 1024 + Math.floor(i / 3)]!,
    ),
  }));
})();
const sampleLabels = samples.map((_, i) => i % 10);

const optionsOf = (settings: Partial<Settings>): AugmentationOptions =>
  augmentationOptions(resolveSettings(settings), [0.5, 0.25, 0.75], 1);

const NEVER: MixingOptions = {
  mixup: 0,
  cutmix: 0,
  probability: 1,
  switchProbability: 0.5,
  offStep: Number.POSITIVE_INFINITY,
};

const inputOf = (settings: Partial<Settings>, mixing: Partial<MixingOptions> = {}): TrainingInput => ({
  store: storeOf(samples, sampleLabels),
  shape: SHAPE,
  classes: 10,
  augmentation: optionsOf(settings),
  mixing: { ...NEVER, ...mixing },
});

const everything: Partial<Settings> = {
  augment: 'rand',
  randFlavour: 'timm',
  scaleMin: 0.3,
  colorJitter: 0.4,
  hueJitter: 0.1,
  randomErasing: 0.5,
  erasingMode: 'pixel',
  interpolation: 'bilinear',
  fill: 'mean',
};

const allRecords = Uint32Array.from({ length: COUNT }, (_, i) => COUNT - 1 - i);

/** A batch without recording: the reference for recorded ones. */
async function eager(input: TrainingInput, seed: number, step: number): Promise<Float32Array> {
  const batch = new TrainingBatch(gpuOf(), COUNT, input);
  batch.draw(allRecords, seed, step);
  batch.gather();
  return batch.images.toFloat32();
}

/** A frame's window of the image, flipped if the frame says so: the reference for the first pass. */
function framed(image: Image, { flip, top, left, height, width }: Frame, reflect: boolean): Image {
  const mirror = (i: number, n: number) => (i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i);
  const small = height !== image.height || width !== image.width;
  const window = small ? referenceResize(image, { top, left, height, width }) : null;
  const bytes = Uint8Array.from({ length: image.bytes.length }, (_, i) => {
    const [y, column] = [Math.floor(i / 3 / image.width), Math.floor(i / 3) % image.width];
    const x = flip ? image.width - 1 - column : column;
    if (window) return window.bytes[3 * (y * image.width + x) + (i % 3)]!;
    const [row, at] = reflect
      ? [mirror(y + top, image.height), mirror(x + left, image.width)]
      : [y + top, x + left];
    const inside = row >= 0 && at >= 0 && row < image.height && at < image.width;
    return inside ? image.bytes[3 * (row * image.width + at) + (i % 3)]! : 0;
  });
  return { ...image, bytes };
}

describe('a batch', () => {
  it.each([
    ['auto', { augment: 'auto', paddingMode: 'reflect' }],
    ['rand', { augment: 'rand', randNumOps: 3, fill: 'grey' }],
    ['trivial', { augment: 'trivial', colorJitter: 0.4, hueJitter: 0.3 }],
    ['everything', everything],
    ['erasing alone', { augment: 'none', randomErasing: 1 }],
  ] as [string, Partial<Settings>][])('%s is what its plans say', async (_, settings) => {
    const input = inputOf(settings);
    const { augmentation: options } = input;
    const [seed, step] = [5, 9];
    const actual = await eager(input, seed, step);
    for (let b = 0; b < COUNT; b++) {
      const { frame, ops } = planImage(options, SIZE, { seed, step, b, record: allRecords[b]! });
      let image = framed(samples[allRecords[b]!]!, frame, options.reflect);
      for (const op of ops)
        image = referenceOp(image, op, options.bilinear, options.fill as [number, number, number]);
      for (let i = 0; i < 3072; i++) {
        const [c, y, x] = [Math.floor(i / 1024), Math.floor(i / 32) % 32, i % 32];
        const box = frame.erase;
        const erased = box && y >= box.top && y < box.bottom && x >= box.left && x < box.right;
        if (erased && options.erasing.noise) continue;
        const expected = erased ? 0 : image.bytes[3 * (y * 32 + x) + c]!;
        if (actual[b * 3072 + i] !== expected)
          expect([b, i, actual[b * 3072 + i], ops]).toEqual([b, i, expected, ops]);
      }
    }
  });

  it.each(['zero', 'reflect'] as const)(
    'crops (%s) and mirrors alike in one pass and in many',
    async (paddingMode) => {
      const plain = await eager(inputOf({ paddingMode }), 3, 4);
      const many = await eager(inputOf({ paddingMode, randomErasing: 1e-9 }), 3, 4);
      expect(many).toEqual(plain);
      for (let b = 0; b < COUNT; b++) {
        const { frame } = planImage(optionsOf({ paddingMode }), SIZE, {
          ...{ seed: 3, step: 4, b, record: allRecords[b]! },
        });
        const image = framed(samples[allRecords[b]!]!, frame, paddingMode === 'reflect');
        const expected = Float32Array.from(
          { length: 3072 },
          (_, i) => image.bytes[3 * (i % 1024) + Math.floor(i / 1024)]!,
        );
        expect(plain.slice(b * 3072, (b + 1) * 3072)).toEqual(expected);
      }
    },
  );

  it('erases with noise that TypeScript can tell', async () => {
    const gpu = gpuOf();
    const box = { top: 2, bottom: 30, left: 1, right: 20 };
    const plans = [0, 1].map(() => ({ frame: { ...whole(32, 32), erase: box }, ops: [] }));
    const encoded = encodePlans(plans, 0, 32, 32);
    const images = Tensor.empty(gpu, [2, ...SHAPE]);
    const operands = {
      index: Tensor.from(gpu, Uint32Array.of(4, 0)),
      frames: Tensor.from(gpu, encoded.frames, [2, 9]),
      program: Tensor.empty(gpu, [0, 2, 8], 'u32'),
      header: headerOf(11, 12),
    };
    const options = { reflect: false, resize: false, bilinear: false, fill: 0, noise: stream.noise };
    augmentBatch(storeOf(samples, sampleLabels), operands, options, images, Tensor.empty(gpu, [2], 'u32'));
    const actual = await images.toFloat32();
    const noise: number[] = [];
    const expected: number[] = [];
    for (let i = 0; i < 2048; i++) {
      const [y, x] = [Math.floor(i / 32) % 32, i % 32];
      if (y < box.top || y >= box.bottom || x < box.left || x >= box.right) continue;
      const [u, v, s, t] = pcg4d(11, stream.noise, 12, i).map(unit) as [number, number, number, number];
      const [r, q] = [Math.sqrt(-2 * Math.log(1 - u)), Math.sqrt(-2 * Math.log(1 - s))];
      expected.push(
        r * Math.cos(2 * Math.PI * v),
        r * Math.sin(2 * Math.PI * v),
        q * Math.cos(2 * Math.PI * t),
      );
      for (let c = 0; c < 3; c++) noise.push(actual[Math.floor(i / 1024) * 3072 + c * 1024 + (i % 1024)]!);
    }
    expect(worst(noise, expected, () => 1e-4).ratio).toBeLessThan(1);
    expect(noise).toHaveLength(2 * 28 * 19 * 3);
  });

  it('recorded and played is the eager one, for each new draw', async () => {
    const mixing = { mixup: 0.8, cutmix: 1 };
    const batch = new TrainingBatch(gpuOf(), COUNT, inputOf(everything, mixing));
    batch.draw(allRecords, 2, 0);
    const { recording } = gpuOf().record(() => batch.gather());
    for (const step of [5, 0, 6]) {
      batch.draw(allRecords, 2, step);
      gpuOf().play(recording);
      expect(await batch.images.toFloat32()).toEqual(await eager(inputOf(everything, mixing), 2, step));
    }
  });

  it('of a run with --flip alternating mirrors each image in every other epoch', async () => {
    const settings = resolveSettings({
      ...{ embedDim: 8, depth: 1, numHeads: 1, patchSize: 16, mlpRatio: 1 },
      // 50 images in steps of 24: the last step of an epoch has 2, which are one micro-batch instead of three.
      ...{ flip: 'alternating', valSplit: 10, batchSize: 8, gradAccumSteps: 3, epochs: 3 },
    });
    const training = await setup(gpuOf(), settings, images({ train: 60, test: 5 }));
    const draw = vi.spyOn(TrainingBatch.prototype, 'draw');
    await fit(training);
    training.release();
    const flips = new Map<number, boolean[]>();
    for (const { value } of draw.mock.results) {
      const { records, images: plans } = value as BatchPlan;
      for (const [b, { frame }] of plans.entries())
        flips.set(records[b]!, [...(flips.get(records[b]!) ?? []), frame.flip]);
    }
    draw.mockRestore();
    expect(flips.size).toBe(50);
    for (const [first, ...later] of flips.values()) expect(later).toEqual([!first, first]);
    expect(new Set([...flips.values()].map(([first]) => first)).size).toBe(2);
  });

  it('for evaluation is the images as they are', async () => {
    const gpu = gpuOf();
    const images = Tensor.empty(gpu, [COUNT, ...SHAPE]);
    const labels = Tensor.empty(gpu, [COUNT], 'u32');
    gatherBatch(storeOf(samples, sampleLabels), Tensor.from(gpu, allRecords), images, labels);
    expect(await images.toFloat32()).toEqual(await eager(inputOf({ augment: 'none' }), 8, 8));
    expect([...(await labels.toUint32())]).toEqual([...allRecords].map((record) => sampleLabels[record]));
  });

  it('needs three channels', () => {
    const images = Tensor.empty(gpuOf(), [1, 1, 4, 4]);
    const operands = { index: images, frames: images, program: images, header: images };
    const options = { reflect: false, resize: false, bilinear: false, fill: 0, noise: null };
    const run = () =>
      scope(() => augmentBatch(storeOf(samples, sampleLabels), operands, options, images, images));
    expect(run).toThrow(/\[augment\] images \(1, 1, 4, 4\) must have 3 channels/);
  });
});

describe('mixing', () => {
  it.each([
    ['mixup', COUNT, { share: 0.3, weight: 0.3, box: NO_MIX.box }],
    ['cutmix', COUNT, { share: 0.75, weight: 1, box: { top: 4, bottom: 20, left: 16, right: 32 } }],
    ['nothing', 8, NO_MIX],
  ])('%s of %i images mixes pixels and targets', async (_, B, mix) => {
    const gpu = gpuOf();
    const before = Float32Array.from({ length: B * 3072 }, (_, i) => Math.sin(i));
    const images = Tensor.from(gpu, before, [B, ...SHAPE]);
    const header = headerOf(1, 1, mix);
    mixImages(images, header);
    const [share, weight] = [Math.fround(mix.share), Math.fround(mix.weight)];
    const expected = before.map((v, i) => {
      const partner = before[(B - 1 - Math.floor(i / 3072)) * 3072 + (i % 3072)]!;
      const [y, x] = [Math.floor(i / 32) % 32, i % 32];
      const { top, bottom, left, right } = mix.box;
      const w = y >= top && y < bottom && x >= left && x < right ? 0 : weight;
      return w * v + (1 - w) * partner;
    });
    const tolerance = mix === NO_MIX ? 1e-12 : 1e-6;
    expect(worst(await images.toFloat32(), expected, () => tolerance).ratio).toBeLessThan(1);

    const labels = Uint32Array.from({ length: B }, (_, b) => (7 * b) % 10);
    const targets = Tensor.empty(gpu, [B, 10]);
    const major = Tensor.empty(gpu, [B], 'u32');
    mixTargets(Tensor.from(gpu, labels), header, targets, major);
    const rows = await targets.toFloat32();
    for (let b = 0; b < B; b++) {
      const row = new Float64Array(10);
      row[labels[b]!]! += share;
      row[labels[B - 1 - b]!]! += 1 - share;
      expect(worst(rows.subarray(10 * b, 10 * b + 10), row, () => 1e-6).ratio).toBeLessThan(1);
      expect(rows.subarray(10 * b, 10 * b + 10).reduce((a, v) => a + v, 0)).toBeCloseTo(1, 6);
    }
    const larger = labels.map((label, b) => (share >= 0.5 ? label : labels[B - 1 - b]!));
    expect(await major.toUint32()).toEqual(larger);
  });
});
