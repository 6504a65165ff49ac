/**
 * STEP: the values that change from one training step to the next, in one small buffer that kernels read, so that a
 * recorded step can be played again. Words 0 and 1 are the key of the model's random draws, such as dropout's.
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

const STEP_WORDS = 8;

/** The buffer; kernels see it as `step` (words) or `key` (the first two). */
export const makeStepState = (gpu: Gpu): Tensor => Tensor.zeros(gpu, [STEP_WORDS], 'u32', 'step');

/** The first two words of a step's state, for ops that draw random numbers. */
export const keyOf = (step: Tensor): Tensor => step.view([2], 0, 'key');

/** Words 0 to 2 are integers, 4 to 7 floats. */
export function writeStepState(state: Tensor, values: StepValues): void {
  const { seed, step, slot, lr, stepSize, rootC2, emaDecay } = values;
  const words = Uint32Array.of(seed, step, slot, 0, 0, 0, 0, 0);
  new Float32Array(words.buffer).set([lr, stepSize, rootC2, emaDecay], 4);
  state.upload(words);
}
