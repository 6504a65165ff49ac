/** Fixed position embeddings. */
import type { Init } from '../tensor/parameter.js';

const TEMPERATURE = 10_000;

/**
 * Two-dimensional sines and cosines for a grid (rows, columns) of patches: sines and cosines of the column, then of the
 * row. The `prefix` tokens before the patches have zeros. Shape (1, prefix + rows · columns, D), D divisible by 4 and at
 * least 8. The frequencies are 10000^(−i / (D/4 − 1)), i < D/4, as in big_vision's posemb_sincos_2d; MoCo v3 (Chen et
 * al., 2021) has the exponent −i / (D/4).
 */
export const sincos2d =
  ([, columns]: readonly [number, number], prefix: number): Init =>
  (_, shape) => {
    const D = shape[2] as number;
    const quarter = D / 4;
    return (i) => {
      const patch = Math.floor(i / D) - prefix;
      if (patch < 0) return 0;
      const [row, column] = [Math.floor(patch / columns), patch % columns];
      const part = Math.floor((i % D) / quarter); // sin x, cos x, sin y, cos y
      const frequency = TEMPERATURE ** -((i % quarter) / (quarter - 1));
      const angle = (part < 2 ? column : row) * frequency;
      return part % 2 === 0 ? Math.sin(angle) : Math.cos(angle);
    };
  };
