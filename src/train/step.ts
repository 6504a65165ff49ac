/**
 * One training step: batch, forward, backward, clipping, optimizer, average, metrics. It runs through the tape once for
 * each batch size and is recorded; from then on the same commands are played. What changes is in the step's state and
 * in the batch's indices.
 *
 * A batch that is larger than `microBatch` goes in parts, whose gradients add up in the arena, each part weighing what
 * it is of the batch: the gradient is that of the whole. Only then the parameters move.
 */

import { autocast, productType } from '../autograd/autocast.js';
import { Tape } from '../autograd/tape.js';
import { TrainingBatch, type TrainingInput } from '../data/training_batch.js';
import type { Recording } from '../gpu/commands.js';
import type { Gpu } from '../gpu/gpu.js';
import type { FreeList } from '../gpu/pool.js';
import type { VisionTransformer } from '../models/vit.js';
import { METRICS, recordMetrics } from '../ops/batch.js';
import { correct, crossEntropy, scaleChannels, sum } from '../ops/index.js';
import { clipNorm, findNonFinite, NON_FINITE_PARTIALS, roundParameters } from '../ops/optimizer.js';
import { keyOf, makeStepState, type StepValues, writeStepState } from '../ops/step_state.js';
import type { Ema } from '../optim/ema.js';
import type { LossScale } from '../optim/loss_scale.js';
import type { Optimizer } from '../optim/optimizer.js';
import type { Arena } from '../tensor/arena.js';
import { keep, type Owned, owned, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

export interface StepParts {
  readonly model: VisionTransformer;
  readonly arena: Arena;
  readonly optimizer: Optimizer;
  readonly ema: Ema | null;
  readonly input: TrainingInput;
  /** For products in f16; null for float32. */
  readonly lossScale: LossScale | null;
  readonly clipGrad: number;
  readonly labelSmoothing: number;
  /** Images that go through the model at a time; larger batches accumulate gradients. */
  readonly microBatch: number;
  /** The most parts that a batch has. */
  readonly accumulate: number;
  /** Steps between two lines of the log, which are the most between two reads of the metrics if there is room for them. */
  readonly logInterval: number;
}

/** What one step is given: the step's state without what TrainingStep itself knows. */
export type StepInput = Omit<StepValues, 'slot'>;

/** What one step came to: the mean loss of its batch, images classified right, the gradient's norm before clipping. */
export interface StepMetrics {
  readonly loss: number;
  readonly correct: number;
  readonly gradNorm: number;
  /** The first parameter whose gradient is not finite, if any is; such a step moves nothing. */
  readonly badGradient: string | null;
}

/** Steps whose metrics are kept on the device at most: 16 KB of them. */
const MOST_UNREAD = 1024;
const ROW_BYTES = 4 * METRICS;

/** What of a step is done: all of it, or the gradients of the first or a later part. */
type Stage = 'whole' | 'first' | 'next';

export class TrainingStep {
  /** Multiply-adds of a step counted as two operations each: forward once, backward twice that; per image. */
  readonly flopsPerImage: number;
  /** The most steps between two reads of the metrics. */
  readonly unread: number;
  private readonly gpu: Gpu;
  private readonly state: Tensor;
  private readonly metrics: Tensor;
  private readonly clip: Tensor;
  private readonly first: Tensor;
  /** The parameters in f16, where products read them so. */
  private readonly halves: Tensor | null;
  /** What the mean loss of a part weighs in that of its batch. */
  private readonly weight: Tensor;
  private weighs = 1;
  /** Loss and images right of the part under way, for the row that the end of a step writes again. */
  private readonly part: { readonly loss: Tensor; readonly right: Tensor };
  private readonly batches = new Map<number, Owned<TrainingBatch>>();
  private readonly recordings = new Map<string, Recording>();
  // No recording needs what another has left in its activations.
  private readonly activations: FreeList = new Map();

  constructor(private readonly parts: StepParts) {
    this.gpu = parts.arena.gpu;
    this.flopsPerImage = 3 * parts.model.flops();
    this.state = keep(makeStepState(this.gpu));
    this.unread = Math.min(parts.logInterval, MOST_UNREAD);
    const rows = this.unread * parts.accumulate;
    const zeros = (shape: number[], label: string) => keep(Tensor.zeros(this.gpu, shape, 'f32', label));
    this.metrics = keep(Tensor.zeros(this.gpu, [rows, METRICS], 'u32', 'metrics'));
    this.first = keep(Tensor.zeros(this.gpu, [NON_FINITE_PARTIALS], 'u32', 'non_finite'));
    this.clip = zeros([2], 'clip');
    this.weight = keep(Tensor.from(this.gpu, new Float32Array([1]), [1], 'dloss'));
    const narrow = parts.lossScale && autocast(() => productType(this.gpu)) === 'f16';
    this.halves = narrow ? parts.arena.makeHalves() : null;
    this.part = { loss: zeros([1], 'loss'), right: zeros([1], 'right') };
  }

  /** Asks for one step on the given records; returns before it has run. */
  run(records: Uint32Array<ArrayBuffer>, values: StepInput): void {
    const { microBatch, accumulate } = this.parts;
    const count = Math.ceil(records.length / microBatch);
    for (let i = 0; i < count; i++) {
      const part = records.slice(i * microBatch, (i + 1) * microBatch);
      const step = values.step * accumulate + i; // each part draws numbers of its own
      const mix = this.batch(part.length).draw(part, values.seed, step);
      writeStepState(this.state, { ...values, step, slot: this.row(values.step) + i }, mix);
      this.weigh(part.length / records.length);
      this.play(part.length, count === 1 ? 'whole' : i === 0 ? 'first' : 'next');
    }
    if (count > 1) this.replay('update', () => this.update(this.part.loss, this.part.right));
  }

  /** What the given steps came to, which waits for them; each with the size of its batch. */
  async read(steps: readonly { readonly step: number; readonly images: number }[]): Promise<StepMetrics[]> {
    const { microBatch, accumulate, arena } = this.parts;
    const rows = steps.map(({ step }) => this.row(step));
    const first = Math.min(...rows);
    const { buffer, offset } = this.metrics;
    const bytes = ROW_BYTES * (Math.max(...rows) + accumulate - first);
    const read = await this.gpu.read({ buffer, offset: offset + ROW_BYTES * first, bytes });
    const [words, values] = [new Uint32Array(read), new Float32Array(read)];
    return steps.map(({ images }, i) => {
      const result = { loss: 0, correct: 0, gradNorm: 0, badGradient: null as string | null };
      for (let done = 0, row = (rows[i] as number) - first; done < images; done += microBatch, row++) {
        const [loss, right, norm] = values.subarray(row * METRICS) as unknown as [number, number, number];
        result.loss += (loss * Math.min(microBatch, images - done)) / images;
        result.correct += right;
        result.gradNorm = norm; // that of the last part, after which it is known
        result.badGradient = arena.nameAt(words[row * METRICS + 3] as number);
      }
      return result;
    });
  }

  /** Gives back what steps have made; its own tensors belong to who made it. */
  release(): void {
    for (const { release } of this.batches.values()) release();
    this.batches.clear();
    this.recordings.clear();
    this.gpu.pool.trim(this.activations);
  }

  /** The first row of the metrics ring of a step, counted from 0. */
  private row(step: number): number {
    return (step % this.unread) * this.parts.accumulate;
  }

  private weigh(share: number): void {
    if (share !== this.weighs) this.weight.upload(new Float32Array([share]));
    this.weighs = share;
  }

  private play(size: number, stage: Stage): void {
    this.replay(`${stage} ${size}`, () => this.body(this.batch(size), stage));
  }

  private replay(name: string, body: () => void): void {
    const known = this.recordings.get(name);
    if (known) this.gpu.play(known);
    else this.recordings.set(name, this.gpu.record(body, this.activations).recording);
  }

  private body(batch: TrainingBatch, stage: Stage): void {
    const { model, arena, lossScale, labelSmoothing } = this.parts;
    const { images, labels, targets } = batch;
    scope(() => {
      batch.gather(this.state);
      if (this.halves && stage !== 'next') roundParameters(arena.values, this.halves);
      const gradient = lossScale ? scaleChannels(this.weight, lossScale.scale) : this.weight;
      const tape = new Tape();
      const mode = { training: true, key: keyOf(this.state) };
      const differentiate = () => {
        const { loss, right } = tape.run(() => {
          const logits = model.forward(images, mode);
          return { loss: crossEntropy(logits, targets, labelSmoothing), right: sum(correct(logits, labels)) };
        });
        tape.backward(loss, { gradient, accumulate: stage === 'next' });
        return { loss, right };
      };
      const { loss, right } = lossScale ? autocast(differentiate) : differentiate();
      if (stage === 'whole') return this.update(loss, right);
      this.gpu.copy(loss, this.part.loss);
      this.gpu.copy(right, this.part.right);
      this.record(loss, right);
    });
  }

  /** Moves the parameters by the gradients of the arena, and writes the step's row of metrics. */
  private update(loss: Tensor, right: Tensor): void {
    const { arena, optimizer, ema, clipGrad, lossScale } = this.parts;
    clipNorm(arena.gradients, this.clip, clipGrad, lossScale?.scale);
    lossScale?.update(this.clip, this.state);
    findNonFinite(arena.gradients, this.first, this.clip);
    optimizer.step(this.clip, this.state);
    ema?.step(this.state);
    this.record(loss, right);
  }

  private record(loss: Tensor, correct: Tensor): void {
    const { clip, first, state: step } = this;
    recordMetrics({ loss, correct, clip, first, step }, this.metrics);
  }

  private batch(size: number): TrainingBatch {
    const known = this.batches.get(size);
    if (known) return known.made;
    const batch = owned(() => new TrainingBatch(this.gpu, size, this.parts.input));
    this.batches.set(size, batch);
    return batch.made;
  }
}
