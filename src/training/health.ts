/** Signs that training goes wrong: tensors that are not finite, and losses far from those before. */

import type { Gpu } from '../gpu/gpu.js';
import { ALL_FINITE, findNonFinite, NON_FINITE_PARTIALS } from '../ops/optimizer.js';
import type { Part } from '../tensor/arena.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** Looks over tensors of an arena's layout on the device; what it reads back is a few thousand words. */
export class FiniteCheck {
  private readonly checks: readonly (Part & { readonly what: string; readonly first: Tensor })[];
  private readonly found: Tensor;

  /** `parts` by what an error calls them: `parameter`, `v`. */
  constructor(gpu: Gpu, parts: Readonly<Record<string, Part>>) {
    const all = Object.entries(parts);
    this.found = keep(Tensor.zeros(gpu, [all.length, NON_FINITE_PARTIALS], 'u32', 'non_finite'));
    this.checks = all.map(([what, part], i) => ({
      ...part,
      what,
      first: keep(this.found.view([NON_FINITE_PARTIALS], i * NON_FINITE_PARTIALS)),
    }));
  }

  /** The first tensor with a NaN or an infinity in it, as `parameter blocks.0.attn.qkv.weight` or `v pos_embed`; null when all is well. */
  async run(): Promise<string | null> {
    for (const { tensor, first } of this.checks) findNonFinite(tensor, first);
    const found = await this.found.toUint32(); // one read, and so one wait, for all of them
    for (const [i, { what, layout }] of this.checks.entries()) {
      let first = ALL_FINITE; // `reduce` would make an object of every word, at every log line
      for (const at of found.subarray(i * NON_FINITE_PARTIALS, (i + 1) * NON_FINITE_PARTIALS))
        if (at < first) first = at;
      const name = layout.nameAt(first);
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
