/** Signs that training goes wrong: tensors that are not finite, and loss spikes. */

import type { Gpu } from '../gpu/gpu.js';
import { ALL_FINITE, findNonFinite, NON_FINITE_PARTIALS } from '../ops/optimizer.js';
import type { Part } from '../tensor/arena.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

/** Searches tensors of an arena's layout for NaN and infinity, on the device. Reads back only a few thousand words. */
export class FiniteCheck {
  private readonly checks: readonly (Part & { readonly what: string; readonly first: Tensor })[];
  private readonly found: Tensor;

  /** `parts` by the names that error messages use: `parameter`, `m`, `v`. */
  constructor(gpu: Gpu, parts: Readonly<Record<string, Part>>) {
    const all = Object.entries(parts);
    this.found = keep(Tensor.zeros(gpu, [all.length, NON_FINITE_PARTIALS], 'u32', 'non_finite'));
    this.checks = all.map(([what, part], i) => ({
      ...part,
      what,
      first: keep(this.found.view([NON_FINITE_PARTIALS], i * NON_FINITE_PARTIALS)),
    }));
  }

  /**
   * The first tensor with a NaN or an infinity, such as `parameter blocks.0.attn.qkv.weight` or `v pos_embed`; null if there
   * is none. Waits for the device.
   */
  async run(): Promise<string | null> {
    for (const { tensor, first } of this.checks) findNonFinite(tensor, first);
    const found = await this.found.toUint32(); // one read, and so one wait, for all tensors
    for (const [i, { what, layout }] of this.checks.entries()) {
      let first = ALL_FINITE; // a loop: `reduce` would allocate an object for every word
      for (const at of found.subarray(i * NON_FINITE_PARTIALS, (i + 1) * NON_FINITE_PARTIALS))
        if (at < first) first = at;
      const name = layout.nameAt(first);
      if (name) return `${what} ${name}`;
    }
    return null;
  }
}

/** Losses in the window. */
const WINDOW = 128;
/** The z-score above which a loss is a spike. */
const SPIKE = 6;

/**
 * The z-score of a loss among the 128 losses before it if it is above 6; otherwise null (llm.c's outlier detector). Adds
 * the loss to `window`, which is part of the state of a run.
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
