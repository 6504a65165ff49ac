/** A data set for runs of tests: drawn by the project itself, as small as asked for. */

import type { Dataset, Split } from '../src/data/dataset.js';
import { generateShapes10, shapes10Classes } from '../src/data/shapes10.js';

/** Images like those of shapes10, with a given number for each split. */
export function images(count: { train: number; test: number }): Dataset {
  const splits = new Map<string, Split>();
  return {
    name: 'shapes10',
    classes: shapes10Classes,
    channels: 3,
    height: 32,
    width: 32,
    mean: [0.5, 0.5, 0.5],
    std: [0.3, 0.35, 0.3],
    load: async (split) => {
      const known = splits.get(split) ?? { ...generateShapes10(split, count[split]), count: count[split] };
      splits.set(split, known);
      return known;
    },
  };
}
