import type { Counter } from '../core/rng.js';
import type { ImageOpName } from '../ops/image_ops.js';
import type { Policy } from './policies.js';

/** Limits of torchvision's ColorJitter: factors within 1 ± these (not below 0), hue within ± its own. */
export interface JitterOptions {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  readonly hue: number;
}

/** torchvision's ColorJitter: those that are above 0, in random order. */
export function colorJitter({ brightness, contrast, saturation, hue }: JitterOptions): Policy {
  const around = (limit: number) => (draw: Counter) => draw.between(Math.max(0, 1 - limit), 1 + limit);
  const all: readonly [ImageOpName, number, (draw: Counter) => number][] = [
    ['Brightness', brightness, around(brightness)],
    ['Contrast', contrast, around(contrast)],
    ['Color', saturation, around(saturation)],
    ['Hue', hue, (draw) => draw.between(-hue, hue)],
  ];
  const used = all.filter(([, limit]) => limit > 0);
  return {
    slots: used.length,
    choose(draw) {
      const left = [...used];
      return used.map(() => {
        const [[op, , value]] = left.splice(draw.below(left.length), 1) as [(typeof all)[number]];
        return { op, value: value(draw) };
      });
    },
  };
}
