/** The image ops: stored results of PIL and torchvision, a second implementation in TypeScript, and the kernels. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Counter } from '../src/core/rng.js';
import { decodeSafetensors } from '../src/io/safetensors.js';
import { applyProgram } from '../src/ops/augment.js';
import { encodePlans, type Frame } from '../src/ops/batch_plan.js';
import { type ImageOp, type ImageOpName, imageOps } from '../src/ops/image_ops.js';
import { Tensor } from '../src/tensor/tensor.js';
import { type Image, referenceOp, referenceResize } from './augment_reference.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();

const path = join(import.meta.dirname, 'reference', 'augment.safetensors');
const stored = decodeSafetensors(path, readFileSync(path));
const about = <T>(name: string): T => JSON.parse(stored.metadata[name] as string) as T;

/** Images (n, H, W, 3) of the stored results. */
function storedImages(name: string): Image[] {
  const { shape, bytes } = stored.tensors.get(name)!;
  const [n, height, width] = shape as [number, number, number];
  const size = height * width * 3;
  return Array.from({ length: n }, (_, i) => ({
    height,
    width,
    bytes: Uint8Array.from(bytes.subarray(i * size, (i + 1) * size)),
  }));
}

const pil = storedImages('images');
const fill = about<[number, number, number]>('fill');
const packedFill = fill[0] + 256 * fill[1] + 65536 * fill[2];

/** The share of bytes that differ, and the largest difference. */
function difference(a: Image, b: Image): { share: number; most: number } {
  const differences = [...a.bytes].map((v, i) => Math.abs(v - b.bytes[i]!));
  return {
    share: differences.filter((d) => d > 0).length / differences.length,
    most: Math.max(...differences),
  };
}

interface Case extends ImageOp {
  readonly interpolation: 'nearest' | 'bilinear';
}

describe('the reference is PIL and torchvision', () => {
  it.each(
    about<Case[]>('cases').map((it, i) => [`${it.op} ${it.value} ${it.interpolation}`, it, i] as const),
  )('%s', (_, { interpolation, ...op }, i) => {
    storedImages(`case.${i}`).forEach((expected, n) => {
      const bilinear = interpolation === 'bilinear';
      const actual = referenceOp(pil[n]!, op, bilinear, fill);
      const { share, most } = difference(actual, expected);
      // Coordinates of 16 bits instead of double precision; exact quotients instead of rounded ones.
      if (bilinear) expect([share < 0.05, most <= 1]).toEqual([true, true]);
      else if (op.op === 'Hue') expect([share < 0.02, most <= 6]).toEqual([true, true]);
      else if (op.op === 'AutoContrast') expectWholeQuotients(pil[n]!, actual, expected);
      else expect({ share, most }).toEqual({ share: 0, most: 0 });
    });
  });

  it.each(about<[number, number, number, number][]>('windows').map((window, i) => [window, i] as const))(
    'resized crop %o',
    ([top, left, height, width], i) => {
      const expected = storedImages(`window.${i}`)[0]!;
      expect(referenceResize(pil[0]!, { top, left, height, width }).bytes).toEqual(expected.bytes);
    },
  );
});

/** PIL, in double precision, is one too low at some quotients that are whole numbers, and nowhere else. */
function expectWholeQuotients(source: Image, actual: Image, expected: Image): void {
  const range = [0, 1, 2].map((c) => {
    const channel = source.bytes.filter((_, i) => i % 3 === c);
    return [Math.min(...channel), Math.max(...channel)] as const;
  });
  actual.bytes.forEach((v, i) => {
    const [low, high] = range[i % 3]!;
    const whole = ((source.bytes[i]! - low) * 255) % (high - low) === 0;
    expect([0, whole ? 1 : 0]).toContain(v - expected.bytes[i]!);
  });
}

/** Images of one size as pixels (B, H, W) on the device, and back. */
function toDevice(images: readonly Image[]): Tensor {
  const { height, width } = images[0]!;
  const pixels = images.flatMap(({ bytes }) =>
    Array.from(
      { length: height * width },
      (_, i) => bytes[3 * i]! + 256 * bytes[3 * i + 1]! + 65536 * bytes[3 * i + 2]!,
    ),
  );
  return Tensor.from(gpuOf(), Uint32Array.from(pixels), [images.length, height, width]);
}

async function fromDevice(pixels: Tensor): Promise<Image[]> {
  const [B, height, width] = pixels.shape as [number, number, number];
  const words = await pixels.toUint32();
  return Array.from({ length: B }, (_, b) => ({
    height,
    width,
    bytes: Uint8Array.from({ length: 3 * height * width }, (_, i) => {
      const word = words[b * height * width + Math.floor(i / 3)]!;
      return (word >>> (8 * (i % 3))) & 255;
    }),
  }));
}

const whole = (height: number, width: number): Frame => ({
  flip: false,
  top: 0,
  left: 0,
  height,
  width,
  erase: null,
});

const range = (n: number, from: number, to: number) =>
  Array.from({ length: n }, (_, i) => from + ((to - from) * i) / (n - 1));

/** Magnitudes of an op: the range that policies use, and a little more. */
function valuesOf(op: ImageOpName): number[] {
  if (op.startsWith('Shear')) return range(13, -0.99, 0.99);
  if (op.startsWith('Translate')) return [...range(9, -33, 33), 0.4, -12.96];
  if (op === 'Rotate') return range(19, -180, 180);
  if (['Color', 'Sharpness', 'Brightness', 'Contrast'].includes(op)) return [...range(20, 0, 1.99), 1, 2.7];
  if (op === 'Hue') return range(21, -0.5, 0.5);
  if (op === 'Posterize') return range(9, 0, 8);
  if (op === 'Solarize') return [...range(11, 0, 256), 198.3333];
  if (op === 'SolarizeAdd') return range(6, 0, 110).map(Math.trunc);
  return [0];
}

const random = (height: number, width: number, seed: number): Image => {
  const counter = new Counter(seed, 77);
  const [low, high] = [counter.below(200), counter.below(200) + 56];
  const bytes = Uint8Array.from({ length: 3 * height * width }, () =>
    Math.floor(counter.between(Math.min(low, high), Math.max(low, high))),
  );
  return { height, width, bytes };
};

describe('the kernels are the reference, byte for byte', () => {
  const cases = (Object.keys(imageOps) as ImageOpName[]).flatMap((op) =>
    valuesOf(op).map((value) => ({ op, value })),
  );
  it.each([
    ['the stored images', false, pil[0]!],
    ['the stored images, bilinear', true, pil[0]!],
    ['a dull one', false, pil[1]!],
    ['1 x 1', true, random(1, 1, 1)],
    ['5 x 3', false, random(5, 3, 2)],
    ['5 x 3, bilinear', true, random(5, 3, 3)],
    ['33 x 47', true, random(33, 47, 4)],
  ])('%s', async (_, bilinear, image) => {
    const { height, width } = image;
    const plans = cases.map((op) => ({ frame: whole(height, width), ops: [op] }));
    const { program } = encodePlans(plans, 1, height, width);
    const pixels = toDevice(cases.map(() => image));
    const words = Tensor.from(gpuOf(), program, [1, cases.length, 8]);
    const actual = await fromDevice(applyProgram(pixels, words, { bilinear, fill: packedFill }));
    const wrong = cases.filter((op, i) => {
      const expected = referenceOp(image, op, bilinear, fill);
      return expected.bytes.some((v, k) => v !== actual[i]!.bytes[k]);
    });
    expect(wrong).toEqual([]);
  });
});
