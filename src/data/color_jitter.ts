/** Colour jitter, as in torchvision. */
import type { Counter } from '../core/rng.js';
import type { ImageOpName } from '../ops/image_ops.js';
import type { Policy } from './policies.js';

/** As in torchvision's ColorJitter: a factor is uniform in [max(0, 1 - x), 1 + x], the hue shift in [-hue, hue] turns. */
export interface JitterOptions {
  readonly brightness: number;
  readonly contrast: number;
  readonly saturation: number;
  readonly hue: number;
}

/** A policy that applies the enabled adjustments of torchvision's ColorJitter in random order. */
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
