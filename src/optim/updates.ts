/** The updates of an optimizer, for a training loop of one's own. `fit` has a step that does more (src/training/step.ts). */
import { clipNorm } from '../ops/optimizer.js';
import { makeStepState, writeStepState } from '../ops/step_state.js';
import type { Arena } from '../tensor/arena.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { Optimizer } from './optimizer.js';

/** Updates the parameters of an arena by an optimizer, and counts the updates. */
export class Updates {
  /** Updates so far. */
  done = 0;
  private readonly clip: Tensor;
  private readonly state: Tensor;

  /** `clipGrad` is the global L2 norm that gradients are clipped to, as by torch.nn.utils.clip_grad_norm_; 0 disables clipping. */
  constructor(
    private readonly arena: Arena,
    private readonly optimizer: Optimizer,
    private readonly clipGrad = 0,
  ) {
    this.clip = keep(Tensor.zeros(arena.gpu, [2], 'f32', 'clip'));
    this.state = keep(makeStepState(arena.gpu));
  }

  /**
   * Updates the parameters once by the gradients in the arena, with the learning rate `lr`. A gradient that is not finite
   * changes nothing. Returns at once; the device does the work in the order of its queue.
   */
  update(lr: number): void {
    const { arena, optimizer, clip, state } = this;
    clipNorm(arena.gradients, clip, this.clipGrad);
    const corrections = optimizer.corrections(lr, this.done + 1);
    writeStepState(state, { seed: 0, step: this.done, slot: 0, lr, ...corrections, emaDecay: 0 });
    optimizer.step(clip, state);
    this.done++;
  }

  /** The norm of the gradients at the last update, before clipping. */
  async gradientNorm(): Promise<number> {
    return (await this.clip.toFloat32())[0] as number;
  }

  /** Releases its device memory. */
  release(): void {
    this.clip.release();
    this.state.release();
  }
}
