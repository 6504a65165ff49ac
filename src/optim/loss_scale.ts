/**
 * Dynamic loss scaling (Micikevicius et al., 2018) with torch.amp.GradScaler's semantics. The loss is multiplied by `scale`
 * so that small gradients do not underflow in f16. If a gradient overflows, the step is skipped and the scale is halved.
 * The scale lives on the device, so that no step waits for the host.
 */
import type { Gpu } from '../gpu/gpu.js';
import { LOSS_SCALE_WORDS, lossScaleStep } from '../ops/optimizer.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

const FIRST_SCALE = 2 ** 16;
/** The scale doubles after this many steps without overflow. */
const INTERVAL = 2000;

export interface LossScaleStatus {
  readonly scale: number;
  /** Number of all skipped steps. */
  readonly skipped: number;
  /** Number of skipped steps in a row up to now. */
  readonly streak: number;
}

/** The loss scale of a run. AdamW's bias corrections depend on the skipped steps, so it needs the betas. */
export class LossScale {
  /** The factor (1) of the loss's gradient. */
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

  /** Updates the scale, and the bias corrections in the step's state. Call it after `clipNorm`, which finds overflows. */
  update(clip: Tensor, step: Tensor): void {
    const { beta1, beta2 } = this.betas;
    lossScaleStep({ clip, state: this.state, step }, { interval: this.interval, beta1, beta2 });
  }

  /** Reads the scale and the skipped steps. Waits for the device. */
  async status(): Promise<LossScaleStatus> {
    const [scale, , skipped, streak] = (await this.values()) as [number, number, number, number];
    return { scale, skipped, streak };
  }

  /** The state for an exact resume. Waits for the device. */
  async values(): Promise<number[]> {
    return Array.from(await this.state.toFloat32());
  }

  /** Restores the state that `values` returned. Missing values are zero. */
  restore(values: readonly number[]): void {
    const words = new Float32Array(LOSS_SCALE_WORDS);
    words.set(values);
    this.state.upload(words);
  }
}
