/** The interface between optimizers and training steps or checkpoints. */
import type { Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** Names of an optimizer's tensors: AdamW's first and second moment, Muon's momentum. */
export type StateName = 'm' | 'v' | 'momentum';

/** An optimizer that updates an arena's parameters on the device. */
export interface Optimizer {
  /** Its tensors, which an exact resume needs. */
  readonly state: Readonly<Partial<Record<StateName, Part>>>;
  /**
   * AdamW's scalars for step t (counted from 1), which go into the step's state: `stepSize` is lr / (1 - beta1^t), and
   * `rootC2` is √(1 - beta2^t).
   */
  corrections(lr: number, t: number): { stepSize: number; rootC2: number };
  /**
   * Submits one update by the arena's gradients times the coefficient in `clip` (2). The learning rate and its corrections
   * come from the step's state.
   */
  step(clip: Tensor, state: Tensor): void;
}

/** A factor of a parameter's learning rate. It scales the weight decay, too, which is multiplied by the learning rate. */
export type RateScale = (parameter: Parameter) => number;
