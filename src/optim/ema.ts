/** Exponential moving average (EMA) of the weights: timm's ModelEmaV3 with use_warmup and its other defaults. */
import { emaStep } from '../ops/optimizer.js';
import type { Arena } from '../tensor/arena.js';
import type { Tensor } from '../tensor/tensor.js';

const POWER = 2 / 3;

/**
 * The decay of step t, counted from 1: min(decay, 1 − t^(−2/3)). It is 0 at the first step, so the average starts as a
 * copy of the weights. The same as timm's get_decay in its training loop, which passes num_updates.
 */
export const emaDecay = (decay: number, t: number): number => Math.min(decay, 1 - t ** -POWER);

/** The EMA of an arena's weights. Fixed parameters are copied once. */
export class Ema {
  /** The averaged weights, in the layout of the arena. */
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
