/** AdamW (Loshchilov and Hutter, 2019) with torch.optim.AdamW's semantics, over the arena in one dispatch. */
import { adamwStep } from '../ops/optimizer.js';
import type { Arena } from '../tensor/arena.js';
import type { Tensor } from '../tensor/tensor.js';

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  /** Added outside of the bias-corrected root. */
  readonly eps: number;
  /** Times the learning rate, subtracted from the decayed part of the arena. */
  readonly weightDecay: number;
}

export const adamwDefaults: AdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

export class AdamW {
  /** First moment: the running mean of gradients. */
  readonly m: Tensor;
  /** Second moment: the running mean of their squares. */
  readonly v: Tensor;

  constructor(
    private readonly arena: Arena,
    private readonly options: AdamWOptions = adamwDefaults,
  ) {
    this.m = arena.like('adamw.m');
    this.v = arena.like('adamw.v');
  }

  /** The values that change per step; t counts steps from 1. Computed in float64, as PyTorch does. */
  corrections(lr: number, t: number): { stepSize: number; rootC2: number } {
    const { beta1, beta2 } = this.options;
    return { stepSize: lr / (1 - beta1 ** t), rootC2: Math.sqrt(1 - beta2 ** t) };
  }

  /** One step with the gradients of the arena times the coefficient in `clip`. */
  step(clip: Tensor, state: Tensor): void {
    const { values: parameter, gradients: gradient, decayed } = this.arena;
    adamwStep({ parameter, gradient, m: this.m, v: this.v }, clip, state, { ...this.options, decayed });
  }
}
