/** What a training step and a checkpoint need of an optimizer. */
import type { Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** What an optimizer may keep: AdamW's moments, and the momentum of Muon's matrices. */
export type StateName = 'm' | 'v' | 'momentum';

export interface Optimizer {
  /** All that a continuation needs. */
  readonly state: Readonly<Partial<Record<StateName, Part>>>;
  /** The values that change per step; t counts steps from 1. */
  corrections(lr: number, t: number): { stepSize: number; rootC2: number };
  /** One step with the gradients of the arena times the coefficient in `clip`; rates come from the step's state. */
  step(clip: Tensor, state: Tensor): void;
}

/** A parameter's own factor of the learning rate (and so of its weight decay). */
export type RateScale = (parameter: Parameter) => number;
