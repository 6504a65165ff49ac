/** AdamW (Loshchilov and Hutter, 2019), with torch.optim.AdamW's semantics, in one dispatch. */
import { adamwStep } from '../ops/optimizer.js';
import type { Arena, Layout, Part } from '../tensor/arena.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Optimizer, RateScale } from './optimizer.js';

/** The constants of AdamW, as in torch.optim.AdamW. */
export interface AdamWOptions {
  /** Decay of the first moment. */
  readonly beta1: number;
  /** Decay of the second moment. */
  readonly beta2: number;
  /** Added to the square root of the bias-corrected second moment. */
  readonly eps: number;
  /** Decoupled weight decay of the parameters that decay: w -= lr * weightDecay * w. */
  readonly weightDecay: number;
}

/** torch.optim.AdamW's defaults. */
export const adamwDefaults: AdamWOptions = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };

/** The parameters that an AdamW updates, and their learning rates. */
export interface AdamWRange {
  /** The section of the arena that it updates; all trained parameters if absent. */
  readonly layout?: Layout;
  /** A factor of the learning rate for each parameter; all 1 if absent. */
  readonly rateScale?: RateScale | undefined;
}

/**
 * AdamW over an arena. The learning rate and the bias corrections come from the step's state, so that a recorded step can be
 * replayed.
 */
export class AdamW implements Optimizer {
  /** First moment: the moving average of gradients. */
  readonly m: Tensor;
  /** Second moment: the moving average of squared gradients. */
  readonly v: Tensor;
  readonly state: Readonly<Record<'m' | 'v', Part>>;
  private readonly parameter: Tensor;
  private readonly gradient: Tensor;
  private readonly scale: Tensor | undefined;
  private readonly decayed: number;

  constructor(
    arena: Arena,
    private readonly options: AdamWOptions = adamwDefaults,
    { layout = arena.trained, rateScale }: AdamWRange = {},
  ) {
    this.m = layout.like('adamw.m');
    this.v = layout.like('adamw.v');
    this.state = { m: { layout, tensor: this.m }, v: { layout, tensor: this.v } };
    this.parameter = layout.of(arena.values);
    this.gradient = layout.of(arena.gradients);
    this.decayed = Math.max(0, arena.decayed - layout.start);
    if (!rateScale) return;
    this.scale = layout.like('adamw.scale');
    layout.write(this.scale, (parameter) => new Float32Array(parameter.size).fill(rateScale(parameter)));
  }

  /** The bias corrections of step t. They are computed in float64, as in PyTorch. */
  corrections(lr: number, t: number): { stepSize: number; rootC2: number } {
    const { beta1, beta2 } = this.options;
    return { stepSize: lr / (1 - beta1 ** t), rootC2: Math.sqrt(1 - beta2 ** t) };
  }

  step(clip: Tensor, state: Tensor): void {
    const { parameter, gradient, m, v, scale, decayed } = this;
    adamwStep({ parameter, gradient, m, v, scale }, clip, state, { ...this.options, decayed });
  }
}
