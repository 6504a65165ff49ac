/**
 * One training step: batch, forward, backward, clipping, AdamW, average, metrics. It runs through the tape once for
 * each batch size and is recorded; from then on the same commands are played. What changes is in the step's state and
 * in the batch's indices.
 */

import { Tape } from '../autograd/tape.js';
import { TrainingBatch, type TrainingInput } from '../data/training_batch.js';
import type { Recording } from '../gpu/commands.js';
import type { Gpu } from '../gpu/gpu.js';
import type { VisionTransformer } from '../models/vit.js';
import { METRICS, recordMetrics } from '../ops/batch.js';
import { correct, crossEntropy, sum } from '../ops/index.js';
import { clipNorm } from '../ops/optimizer.js';
import { keyOf, makeStepState, type StepValues, writeStepState } from '../ops/step_state.js';
import type { AdamW } from '../optim/adamw.js';
import type { Ema } from '../optim/ema.js';
import type { Arena } from '../tensor/arena.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

export interface StepParts {
  readonly model: VisionTransformer;
  readonly arena: Arena;
  readonly optimizer: AdamW;
  readonly ema: Ema | null;
  readonly input: TrainingInput;
  readonly clipGrad: number;
  readonly labelSmoothing: number;
  /** Rows of the metrics ring. */
  readonly slots: number;
}

/** What one step came to: the mean loss of its batch, images classified right, the gradient's norm before clipping. */
export interface StepMetrics {
  readonly loss: number;
  readonly correct: number;
  readonly gradNorm: number;
}

interface Batch {
  readonly input: TrainingBatch;
  recording: Recording | null;
}

export class TrainingStep {
  /** Multiply-adds of a step counted as two operations each: forward once, backward twice that; per image. */
  readonly flopsPerImage: number;
  private readonly gpu: Gpu;
  private readonly state: Tensor;
  private readonly metrics: Tensor;
  private readonly clip: Tensor;
  private readonly one: Tensor;
  private readonly batches = new Map<number, Batch>();

  constructor(private readonly parts: StepParts) {
    this.gpu = parts.arena.gpu;
    this.flopsPerImage = 3 * parts.model.flops();
    this.state = keep(makeStepState(this.gpu));
    this.metrics = keep(Tensor.zeros(this.gpu, [parts.slots, METRICS], 'f32', 'metrics'));
    this.clip = keep(Tensor.zeros(this.gpu, [2], 'f32', 'clip'));
    this.one = keep(Tensor.from(this.gpu, new Float32Array([1]), [1], 'dloss'));
  }

  /** Asks for one step on the given records; returns before it has run. */
  run(records: Uint32Array<ArrayBuffer>, values: StepValues): void {
    const batch = this.batch(records.length);
    const mix = batch.input.draw(records, values.seed, values.step);
    writeStepState(this.state, values, mix);
    if (batch.recording) this.gpu.play(batch.recording);
    else batch.recording = this.gpu.record(() => this.body(batch)).recording;
  }

  /** The metrics of the given slots, which waits for their steps. */
  async read(slots: readonly number[]): Promise<StepMetrics[]> {
    const values = await this.metrics.toFloat32();
    return slots.map((slot) => {
      const [loss, right, gradNorm] = values.subarray(slot * METRICS) as unknown as [number, number, number];
      return { loss, correct: right, gradNorm };
    });
  }

  private body({ input }: Batch): void {
    const { model, arena, optimizer, ema, clipGrad, labelSmoothing } = this.parts;
    const { images, labels, targets } = input;
    scope(() => {
      input.gather(this.state);
      const tape = new Tape();
      const mode = { training: true, key: keyOf(this.state) };
      const { loss, right } = tape.run(() => {
        const logits = model.forward(images, mode);
        return { loss: crossEntropy(logits, targets, labelSmoothing), right: sum(correct(logits, labels)) };
      });
      tape.backward(loss, { gradient: this.one });
      clipNorm(arena.gradients, this.clip, clipGrad);
      optimizer.step(this.clip, this.state);
      ema?.step(this.state);
      recordMetrics(loss, right, this.clip, this.state, this.metrics);
    });
  }

  private batch(size: number): Batch {
    const known = this.batches.get(size);
    if (known) return known;
    const batch: Batch = { input: new TrainingBatch(this.gpu, size, this.parts.input), recording: null };
    this.batches.set(size, batch);
    return batch;
  }
}
