/**
 * STEP: all that changes from one training step to the next, in one small buffer that kernels read, so that a
 * recorded step can be played again. Words 0 and 1 are the key of every random draw of the step.
 */
import type { Gpu } from '../gpu/gpu.js';
import { Tensor } from '../tensor/tensor.js';

export interface StepValues {
  readonly seed: number;
  /** The number of the step, from 0: the counter of its random draws. */
  readonly step: number;
  /** The row of the metrics ring that the step writes. */
  readonly slot: number;
  readonly lr: number;
  /** lr / (1 − β1^t), t counting optimizer steps from 1. */
  readonly stepSize: number;
  /** √(1 − β2^t). */
  readonly rootC2: number;
  readonly emaDecay: number;
}

/** Rows top … bottom − 1 and columns left … right − 1 of an image. */
export interface Box {
  readonly top: number;
  readonly bottom: number;
  readonly left: number;
  readonly right: number;
}

export const NO_BOX: Box = { top: 0, bottom: 0, left: 0, right: 0 };

/** How a step mixes image b of its batch with image B − 1 − b. */
export interface Mix {
  /** λ: the share of an image's own label. */
  readonly share: number;
  /** The share of its own pixels outside of the box; inside, all are its partner's. */
  readonly weight: number;
  readonly box: Box;
}

export const NO_MIX: Mix = { share: 1, weight: 1, box: NO_BOX };

export const STEP_WORDS = 16;

/** The buffer; kernels see it as `step` (words) or `key` (the first two). */
export const makeStepState = (gpu: Gpu): Tensor => Tensor.zeros(gpu, [STEP_WORDS], 'u32', 'step');

/** The first two words of a step's state, for ops that draw random numbers. */
export const keyOf = (step: Tensor): Tensor => step.view([2], 0, 'key');

/** Words 0 … 3 are integers, 4 … 9 floats, 10 … 13 the edges of the mix's box. */
export function writeStepState(state: Tensor, values: StepValues, mix: Mix = NO_MIX): void {
  const { seed, step, slot, lr, stepSize, rootC2, emaDecay } = values;
  const words = new Uint32Array(STEP_WORDS);
  words.set([seed, step, slot, 0]);
  new Float32Array(words.buffer).set([lr, stepSize, rootC2, emaDecay, mix.share, mix.weight], 4);
  words.set([mix.box.top, mix.box.bottom, mix.box.left, mix.box.right], 10);
  state.upload(words);
}
