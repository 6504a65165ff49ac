/**
 * One training step in two halves: `gradients` (batch, forward, backward) and `update` (clipping, optimizer, EMA,
 * metrics). Between the halves gradients can be summed over micro-batches, devices or processes. The first step of each
 * batch size runs through the tape and is recorded; later steps replay the same commands with new data.
 *
 * A batch that is larger than `microBatch` is divided into micro-batches. Each one's loss is weighted by its share of the
 * batch, so the summed gradients are those of the whole batch.
 */

import { autocast, productType } from '../autograd/autocast.js';
import { Tape } from '../autograd/tape.js';
import { TrainingBatch, type TrainingInput } from '../data/training_batch.js';
import type { Recording } from '../gpu/commands.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FreeList } from '../gpu/pool.js';
import type { Model } from '../models/model.js';
import { correct, crossEntropy, scaleChannels, sum } from '../ops/index.js';
import { clipNorm, findNonFinite, NON_FINITE_PARTIALS, roundParameters } from '../ops/optimizer.js';
import { keyOf, makeStepState, type StepValues, writeStepState } from '../ops/step_state.js';
import type { Ema } from '../optim/ema.js';
import type { LossScale } from '../optim/loss_scale.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Arena } from '../tensor/arena.js';
import { keep, type Owned, owned, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { MetricsRing, type RingOptions, type StepMetrics } from './metrics.js';

/** The parts and constants of a training step. A batch of more than `microBatch` images accumulates gradients. */
export interface StepParts extends RingOptions {
  readonly model: Model;
  readonly arena: Arena;
  readonly optimizer: Optimizer;
  readonly ema: Ema | null;
  readonly input: TrainingInput;
  /** The loss scale of mixed precision (f16); null for float32. */
  readonly lossScale: LossScale | null;
  /** Gradients are clipped to this global L2 norm; 0 disables clipping. */
  readonly clipGrad: number;
  readonly labelSmoothing: number;
}

/** The values of one step: the step's state without the row of its metrics, which TrainingStep chooses. */
export type StepInput = Omit<StepValues, 'slot'>;

/** Loss (1) and number of correctly classified images (1) of a micro-batch. */
interface Outcome {
  readonly loss: Tensor;
  readonly right: Tensor;
}

/** The training step of a model. Its methods submit work to the device and return before the work is done. */
export class TrainingStep {
  /** Floating-point operations of a step per image. */
  readonly flopsPerImage: number;
  readonly metrics: MetricsRing;
  private readonly gpu: Gpu;
  private readonly state: Tensor;
  private readonly clip: Tensor;
  private readonly first: Tensor;
  /** The copy of the parameters in f16 for mixed precision; null without it. */
  private readonly halves: Tensor | null;
  /** A micro-batch's share of the whole batch: the gradient of the step's loss with respect to the micro-batch's loss. */
  private readonly share: Tensor;
  private shareNow = 1;
  /** The outcome of the latest micro-batch. The update writes it to its row again, with the norm of the gradient. */
  private readonly part: Outcome;
  private readonly batches = new Map<number, Owned<TrainingBatch>>();
  private readonly recordings = new Map<string, Recording>();
  // All recordings share one pool of activations, because none needs the values of another.
  private readonly activations: FreeList = new Map();

  constructor(private readonly parts: StepParts) {
    const { arena, model, lossScale } = parts;
    this.gpu = arena.gpu;
    this.flopsPerImage = model.trainingFlops();
    this.metrics = new MetricsRing(this.gpu, parts);
    this.state = keep(makeStepState(this.gpu));
    const zeros = (shape: number[], label: string) => keep(Tensor.zeros(this.gpu, shape, 'f32', label));
    this.first = keep(Tensor.zeros(this.gpu, [NON_FINITE_PARTIALS], 'u32', 'non_finite'));
    this.clip = zeros([2], 'clip');
    this.share = keep(Tensor.from(this.gpu, new Float32Array([1]), [1], 'dloss'));
    const narrow = lossScale && autocast(() => productType(this.gpu)) === 'f16';
    this.halves = narrow ? arena.makeHalves() : null;
    this.part = { loss: zeros([1], 'loss'), right: zeros([1], 'right') };
  }

  /** Submits one step on the given records: `gradients` and `update`, in one recording if there is one micro-batch. */
  run(records: Uint32Array<ArrayBuffer>, values: StepInput): void {
    if (records.length > this.parts.microBatch) {
      this.gradients(records, values);
      this.update();
      return;
    }
    const batch = this.draw(records, values, 0);
    this.weigh(1);
    this.replay(`step ${batch.size}`, () => scope(() => this.move(this.differentiate(batch, false))));
  }

  /** Submits the gradients of a batch, which are summed over its micro-batches in the arena. */
  gradients(records: Uint32Array<ArrayBuffer>, values: StepInput): void {
    const { microBatch } = this.parts;
    for (let at = 0, i = 0; at < records.length; at += microBatch, i++) {
      const batch = this.draw(records.slice(at, at + microBatch), values, i);
      this.weigh(batch.size / records.length);
      const accumulate = i > 0;
      this.replay(`${accumulate ? 'next' : 'first'} ${batch.size}`, () =>
        scope(() => this.keepPart(this.differentiate(batch, accumulate))),
      );
    }
  }

  /** Submits the update of the parameters by the gradients in the arena. */
  update(): void {
    this.replay('update', () => this.move(this.part));
  }

  /** The metrics of the given steps, each with the size of its batch. Waits for these steps. */
  read(steps: readonly { readonly step: number; readonly images: number }[]): Promise<StepMetrics[]> {
    return this.metrics.read(steps, this.parts.arena);
  }

  /** Releases batches and activations. The tensors of the constructor belong to the caller's scope. */
  release(): void {
    for (const { release } of this.batches.values()) release();
    this.batches.clear();
    this.recordings.clear();
    this.gpu.pool.trim(this.activations);
  }

  /** Uploads the plan of micro-batch i of a step, and the step's state. Each micro-batch has its own random numbers. */
  private draw(records: Uint32Array<ArrayBuffer>, values: StepInput, i: number): TrainingBatch {
    const step = values.step * this.parts.accumulate + i;
    const batch = this.batch(records.length);
    batch.draw(records, values.seed, step);
    writeStepState(this.state, { ...values, step, slot: this.metrics.row(values.step) + i });
    return batch;
  }

  private weigh(share: number): void {
    if (share !== this.shareNow) this.share.upload(new Float32Array([share]));
    this.shareNow = share;
  }

  private replay(name: string, body: () => void): void {
    const known = this.recordings.get(name);
    if (known) this.gpu.play(known);
    else this.recordings.set(name, this.gpu.record(body, this.activations).recording);
  }

  /** Forward and backward pass. The gradients overwrite those in the arena, or with `accumulate` are added to them. */
  private differentiate(batch: TrainingBatch, accumulate: boolean): Outcome {
    const { model, arena, lossScale, labelSmoothing } = this.parts;
    const { images, labels, targets } = batch;
    batch.gather();
    if (this.halves && !accumulate) roundParameters(arena.values, this.halves);
    const gradient = lossScale ? scaleChannels(this.share, lossScale.scale) : this.share;
    const tape = new Tape();
    const mode = { training: true, key: keyOf(this.state) };
    const body = () => {
      const outcome = tape.run(() => {
        const logits = model.forward(images, mode);
        return { loss: crossEntropy(logits, targets, labelSmoothing), right: sum(correct(logits, labels)) };
      });
      tape.backward(outcome.loss, { gradient, accumulate });
      return outcome;
    };
    return lossScale ? autocast(body) : body();
  }

  /** Keeps the outcome of a micro-batch, and writes its row of metrics. */
  private keepPart({ loss, right }: Outcome): void {
    this.gpu.copy(loss, this.part.loss);
    this.gpu.copy(right, this.part.right);
    this.record(this.part);
  }

  /** Updates the parameters by the gradients in the arena, and writes the step's row of metrics. */
  private move(outcome: Outcome): void {
    const { arena, optimizer, ema, clipGrad, lossScale } = this.parts;
    clipNorm(arena.gradients, this.clip, clipGrad, lossScale?.scale);
    lossScale?.update(this.clip, this.state);
    findNonFinite(arena.gradients, this.first, this.clip);
    optimizer.step(this.clip, this.state);
    ema?.step(this.state);
    this.record(outcome);
  }

  private record({ loss, right }: Outcome): void {
    const { clip, first, state: step } = this;
    this.metrics.record({ loss, correct: right, clip, first, step });
  }

  private batch(size: number): TrainingBatch {
    const known = this.batches.get(size);
    if (known) return known.made;
    const batch = owned(() => new TrainingBatch(this.gpu, size, this.parts.input));
    this.batches.set(size, batch);
    return batch.made;
  }
}
