/** Exponential moving average (EMA) of the weights: timm's ModelEmaV3 with use_warmup and its other defaults. */
import { emaStep } from '../ops/optimizer.js';
import type { Arena } from '../tensor/arena.js';
import type { Tensor } from '../tensor/tensor.js';

const POWER = 2 / 3;

/**
 * The decay of step t, counted from 1: 1 − t^(−2/3) until that reaches the constant. The first step has 0, so the
 * average starts as a copy of the weights. timm's get_decay gives the same when its training loop passes num_updates.
 */
export const emaDecay = (decay: number, t: number): number => Math.min(decay, 1 - t ** -POWER);

export class Ema {
  /** Of the arena's layout; fixed parameters are copied once. */
  readonly average: Tensor;
  private readonly moving: Tensor;
  private readonly weights: Tensor;

  constructor(
    arena: Arena,
    private readonly decay: number,
  ) {
    this.average = arena.like('ema');
    arena.gpu.copy(arena.values, this.average);
    this.moving = arena.moving.of(this.average);
    this.weights = arena.moving.of(arena.values);
  }

  /** The decay of step t, counted from 1. */
  decayAt(t: number): number {
    return emaDecay(this.decay, t);
  }

  /** average ← d · average + (1 − d) · weights, with d from the step's state. */
  step(state: Tensor): void {
    emaStep(this.moving, this.weights, state);
  }
}
