/**
 * Dynamic loss scaling (Micikevicius et al., 2018) with torch.amp.GradScaler's semantics: gradients of a loss that is
 * multiplied by `scale` stay within f16's range; where one does not, the step is skipped and the scale halved. All of it
 * lives on the device, so that no step waits for the host.
 */
import type { Gpu } from '../gpu/gpu.js';
import { LOSS_SCALE_WORDS, lossScaleStep } from '../ops/optimizer.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

const FIRST_SCALE = 2 ** 16;
/** Steps without overflow after which the scale doubles. */
const INTERVAL = 2000;

export interface LossScaleStatus {
  readonly scale: number;
  /** Steps skipped in all, and in a row up to now. */
  readonly skipped: number;
  readonly streak: number;
}

export class LossScale {
  /** (1), what the gradient of the loss is multiplied by. */
  readonly scale: Tensor;
  private readonly state: Tensor;

  constructor(
    gpu: Gpu,
    private readonly betas: { readonly beta1: number; readonly beta2: number },
    private readonly interval = INTERVAL,
  ) {
    this.state = keep(Tensor.zeros(gpu, [LOSS_SCALE_WORDS], 'f32', 'loss_scale'));
    this.scale = keep(this.state.view([1]));
    this.restore([FIRST_SCALE]);
  }

  /** After clipNorm has looked at the gradient: moves the scale, and the bias corrections in the step's state. */
  update(clip: Tensor, step: Tensor): void {
    const { beta1, beta2 } = this.betas;
    lossScaleStep({ clip, state: this.state, step }, { interval: this.interval, beta1, beta2 });
  }

  async status(): Promise<LossScaleStatus> {
    const [scale, , skipped, streak] = (await this.values()) as [number, number, number, number];
    return { scale, skipped, streak };
  }

  /** All that a continuation needs. */
  async values(): Promise<number[]> {
    return Array.from(await this.state.toFloat32());
  }

  /** Sets what `values` gave; what is missing is zero. */
  restore(values: readonly number[]): void {
    const words = new Float32Array(LOSS_SCALE_WORDS);
    words.set(values);
    this.state.upload(words);
  }
}
