/** Signs that training goes wrong: tensors that are not finite, and losses far from those before. */

import type { Gpu } from '../gpu/gpu.js';
import { ALL_FINITE, findNonFinite, NON_FINITE_PARTIALS } from '../ops/optimizer.js';
import type { Part } from '../tensor/arena.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** Looks over tensors of an arena's layout on the device; what it reads back is a few thousand words. */
export class FiniteCheck {
  private readonly first: Tensor;

  constructor(
    gpu: Gpu,
    /** By what an error calls them: `parameter`, `v`. */
    private readonly parts: Readonly<Record<string, Part>>,
  ) {
    this.first = keep(Tensor.zeros(gpu, [NON_FINITE_PARTIALS], 'u32', 'non_finite'));
  }

  /** The first tensor with a NaN or an infinity in it, as `parameter blocks.0.attn.qkv.weight` or `v pos_embed`; null when all is well. */
  async run(): Promise<string | null> {
    for (const [what, { layout, tensor }] of Object.entries(this.parts)) {
      findNonFinite(tensor, this.first);
      const index = (await this.first.toUint32()).reduce((a, b) => Math.min(a, b), ALL_FINITE);
      const name = layout.nameAt(index);
      if (name) return `${what} ${name}`;
    }
    return null;
  }
}

const WINDOW = 128;
const SPIKE = 6;

/**
 * The z-score of a loss among the 128 before it when it is above 6 standard deviations, else null (llm.c's outlier
 * detector). Adds the loss to `window`, which belongs to the state of a run.
 */
export function lossSpike(window: number[], loss: number): number | null {
  const full = window.length === WINDOW;
  const mean = window.reduce((sum, x) => sum + x, 0) / WINDOW;
  const variance = window.reduce((sum, x) => sum + (x - mean) ** 2, 0) / WINDOW;
  const z = (loss - mean) / Math.sqrt(variance);
  window.push(loss);
  if (window.length > WINDOW) window.shift();
  return full && z > SPIKE ? z : null;
}
