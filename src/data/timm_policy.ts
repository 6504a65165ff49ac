/** timm's RandAugment. Its magnitudes go to 10 and not to 30 as torchvision's, so 9 is nearly the strongest. */
import type { Counter } from '../core/rng.js';
import type { ImageOp, ImageOpName } from '../ops/image_ops.js';
import { any, atLevel, type Policy, type Size, signed, usual } from './policies.js';

/** The ops of timm's RandAugment, with increasing ranges or without. */
export const timmOps: readonly ImageOpName[] = [
  'AutoContrast',
  'Equalize',
  'Invert',
  'Rotate',
  'Posterize',
  'Solarize',
  'SolarizeAdd',
  'Color',
  'Contrast',
  'Brightness',
  'Sharpness',
  'ShearX',
  'ShearY',
  'TranslateX',
  'TranslateY',
];

export interface TimmRandOptions {
  /** timm's `n`: ops per image. */
  readonly numOps: number;
  /** timm's `m`, from 0 to 10. */
  readonly magnitude: number;
  /** timm's `mstd`: the standard deviation of the magnitude. Above 100 the magnitude is uniform in [0, m]. */
  readonly std: number;
  /** timm's `inc1`: Posterize, Solarize and the colour enhancements get stronger with the magnitude. */
  readonly increasing: boolean;
}

/** timm's `rand-mM-nN-mstdS-incI`: ops are drawn with replacement, each applied with probability 0.5. */
export const timmRandAugment = ({ numOps, magnitude, std, increasing }: TimmRandOptions): Policy => ({
  slots: numOps,
  choose(draw, size) {
    const chosen = Array.from({ length: numOps }, () => any(draw, timmOps));
    return chosen.flatMap((op) => {
      if (draw.uniform() >= 0.5) return [];
      const wanted = std > 100 ? draw.between(0, magnitude) : magnitude + std * draw.normal();
      return [timmAtLevel(op, Math.max(0, Math.min(10, wanted)) / 10, increasing, draw, size)];
    });
  },
});

function timmAtLevel(
  op: ImageOpName,
  level: number,
  increasing: boolean,
  draw: Counter,
  size: Size,
): ImageOp {
  switch (op) {
    case 'TranslateX':
      return { op, value: signed(draw, 0.45 * level * size.width) };
    case 'TranslateY':
      return { op, value: signed(draw, 0.45 * level * size.height) };
    case 'Brightness':
    case 'Color':
    case 'Contrast':
    case 'Sharpness':
      return { op, value: increasing ? Math.max(0.1, 1 + signed(draw, 0.9 * level)) : 0.1 + 1.8 * level };
    case 'Posterize':
      return { op, value: increasing ? 4 - Math.trunc(4 * level) : Math.trunc(4 * level) };
    case 'Solarize':
      return { op, value: increasing ? 256 - Math.trunc(256 * level) : Math.trunc(256 * level) };
    case 'SolarizeAdd':
      return { op, value: Math.trunc(110 * level) };
    default:
      return atLevel(op, level, usual, draw, size);
  }
}
