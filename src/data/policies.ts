/**
 * Augmentation policies. A policy chooses the ops of an image and their values from a sequence of random numbers. It is a
 * pure function, so that the ops of any image can be computed again.
 *
 * Colours are bytes and lengths are pixels. Signs are positive or negative with equal probability. The order of random
 * numbers must not change, because it decides the images of a seed.
 */
import type { Counter } from '../core/rng.js';
import type { ImageOp, ImageOpName } from '../ops/image_ops.js';

/** The size of the images in pixels; some translations are fractions of it. */
export interface Size {
  readonly height: number;
  readonly width: number;
}

export interface Policy {
  /** The most ops that it applies to an image. */
  readonly slots: number;
  /** Chooses the ops of one image. */
  choose(draw: Counter, size: Size): ImageOp[];
}

/** One of the choices, all with equal probability. */
export const any = <T>(draw: Counter, choices: readonly T[]): T => choices[draw.below(choices.length)] as T;
/** The value or its negative, with equal probability. */
export const signed = (draw: Counter, value: number): number => (draw.below(2) === 1 ? -value : value);

/** The largest values of a policy's ops, at level 1. */
export interface Reach {
  /** Shear factor. */
  readonly shear: number;
  /** Translation in pixels, for an image side of that many pixels. */
  readonly translate: (side: number) => number;
  /** Degrees. */
  readonly rotate: number;
  /** Change of the factor of Brightness, Color, Contrast and Sharpness. */
  readonly enhance: number;
  /** The fewest bits that Posterize keeps. */
  readonly bits: number;
}

/** torchvision's AutoAugment and RandAugment. */
export const usual: Reach = {
  shear: 0.3,
  translate: (side) => (150 / 331) * side,
  rotate: 30,
  enhance: 0.9,
  bits: 4,
};

/** torchvision's TrivialAugmentWide, whose translation is in pixels for images of any size. */
const wide: Reach = { shear: 0.99, translate: () => 32, rotate: 135, enhance: 0.99, bits: 2 };

/** An op at `level` in [0, 1] of its reach, with torchvision's ranges. Draws a sign for ops that have one. */
export function atLevel(op: ImageOpName, level: number, reach: Reach, draw: Counter, size: Size): ImageOp {
  switch (op) {
    case 'ShearX':
    case 'ShearY':
      return { op, value: signed(draw, reach.shear * level) };
    case 'TranslateX':
      return { op, value: signed(draw, Math.trunc(reach.translate(size.width) * level)) };
    case 'TranslateY':
      return { op, value: signed(draw, Math.trunc(reach.translate(size.height) * level)) };
    case 'Rotate':
      return { op, value: signed(draw, reach.rotate * level) };
    case 'Brightness':
    case 'Color':
    case 'Contrast':
    case 'Sharpness':
      return { op, value: 1 + signed(draw, reach.enhance * level) };
    case 'Posterize':
      return { op, value: 8 - Math.round((8 - reach.bits) * level) };
    case 'Solarize':
      return { op, value: 255 - 255 * level };
    default:
      return { op, value: 0 };
  }
}

/** Two ops, each with its probability and its magnitude bin (0 to 9). */
type Pair = readonly [ImageOpName, number, number, ImageOpName, number, number];

/** torchvision's AutoAugmentPolicy.CIFAR10 (Cubuk et al., "AutoAugment", 2019). */
export const cifar10Policy: readonly Pair[] = [
  ['Invert', 0.1, 0, 'Contrast', 0.2, 6],
  ['Rotate', 0.7, 2, 'TranslateX', 0.3, 9],
  ['Sharpness', 0.8, 1, 'Sharpness', 0.9, 3],
  ['ShearY', 0.5, 8, 'TranslateY', 0.7, 9],
  ['AutoContrast', 0.5, 0, 'Equalize', 0.9, 0],
  ['ShearY', 0.2, 7, 'Posterize', 0.3, 7],
  ['Color', 0.4, 3, 'Brightness', 0.6, 7],
  ['Sharpness', 0.3, 9, 'Brightness', 0.7, 9],
  ['Equalize', 0.6, 0, 'Equalize', 0.5, 0],
  ['Contrast', 0.6, 7, 'Sharpness', 0.6, 5],
  ['Color', 0.7, 7, 'TranslateX', 0.5, 8],
  ['Equalize', 0.3, 0, 'AutoContrast', 0.4, 0],
  ['TranslateY', 0.4, 3, 'Sharpness', 0.2, 6],
  ['Brightness', 0.9, 6, 'Color', 0.2, 8],
  ['Solarize', 0.5, 2, 'Invert', 0, 0],
  ['Equalize', 0.2, 0, 'AutoContrast', 0.6, 0],
  ['Equalize', 0.2, 0, 'Equalize', 0.6, 0],
  ['Color', 0.9, 9, 'Equalize', 0.6, 0],
  ['AutoContrast', 0.8, 0, 'Solarize', 0.2, 8],
  ['Brightness', 0.1, 3, 'Color', 0.7, 0],
  ['Solarize', 0.4, 5, 'AutoContrast', 0.9, 0],
  ['TranslateY', 0.9, 9, 'TranslateY', 0.7, 9],
  ['AutoContrast', 0.9, 0, 'Solarize', 0.8, 3],
  ['Equalize', 0.8, 0, 'Invert', 0.1, 0],
  ['TranslateY', 0.7, 9, 'AutoContrast', 0.9, 0],
];

/** AutoAugment: one of the 25 pairs. Each op is applied with its own probability; signs and ranges are torchvision's. */
export const autoAugment: Policy = {
  slots: 2,
  choose(draw, size) {
    const [first, p1, bin1, second, p2, bin2] = any(draw, cifar10Policy);
    const maybe = (op: ImageOpName, probability: number, bin: number) =>
      draw.uniform() < probability ? [atLevel(op, bin / 9, usual, draw, size)] : [];
    return [...maybe(first, p1, bin1), ...maybe(second, p2, bin2)];
  },
};

/** The ops of torchvision's RandAugment and TrivialAugmentWide. */
export const torchvisionOps: readonly ImageOpName[] = [
  'Identity',
  'ShearX',
  'ShearY',
  'TranslateX',
  'TranslateY',
  'Rotate',
  'Brightness',
  'Color',
  'Contrast',
  'Sharpness',
  'Posterize',
  'Solarize',
  'AutoContrast',
  'Equalize',
];

const BINS = 31;

/** torchvision's RandAugment(numOps, magnitude, 31 bins): ops are drawn with replacement and always applied. */
export const randAugment = (numOps: number, magnitude: number): Policy => ({
  slots: numOps,
  choose: (draw, size) =>
    Array.from({ length: numOps }, () =>
      atLevel(any(draw, torchvisionOps), magnitude / (BINS - 1), usual, draw, size),
    ),
});

/** torchvision's TrivialAugmentWide: one op, with a magnitude drawn from 31 bins. */
export const trivialAugment: Policy = {
  slots: 1,
  choose: (draw, size) => [
    atLevel(any(draw, torchvisionOps), draw.below(BINS) / (BINS - 1), wide, draw, size),
  ],
};
