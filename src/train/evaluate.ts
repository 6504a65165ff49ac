/** Evaluation: logits of every image, and in float64 on the host what follows from them. */

import type { VisionTransformer } from '../models/vit.js';
import { gatherBatch, type ImageStore } from '../ops/batch.js';
import { makeStepState } from '../ops/step_state.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

export interface ClassResult {
  readonly class: string;
  readonly images: number;
  /** A fraction of `images`; null when there are none. */
  readonly accuracy: number | null;
}

export interface Evaluation {
  readonly images: number;
  /** Fractions. */
  readonly top1: number;
  readonly top5: number;
  /** Mean cross-entropy in nats, without label smoothing. */
  readonly loss: number;
  readonly per_class: readonly ClassResult[];
}

export interface EvaluationInput {
  readonly model: VisionTransformer;
  readonly store: ImageStore;
  /** The records to evaluate, and the class of every record of the store. */
  readonly records: Uint32Array;
  readonly labels: ArrayLike<number>;
  readonly classes: readonly string[];
  readonly batchSize: number;
}

const NO_AUGMENTATION = { pad: 0, reflect: false, flip: false, stream: 0 };
// Logits are read back once in so many batches: a read drains the queue.
const BATCHES_A_READ = 32;

export async function evaluate(input: EvaluationInput): Promise<Evaluation> {
  const { records, labels, classes, batchSize } = input;
  const tally = new Tally(classes);
  const span = batchSize * BATCHES_A_READ;
  for (let start = 0; start < records.length; start += span) {
    const part = records.subarray(start, start + span);
    const logits = await logitsOf(input, part);
    part.forEach((record, i) => {
      tally.add(logits.subarray(i * classes.length, (i + 1) * classes.length), labels[record] as number);
    });
  }
  return tally.result();
}

/** Logits (n, K) of the given records, on the host. */
async function logitsOf({ model, store, classes, batchSize }: EvaluationInput, records: Uint32Array) {
  const { gpu } = store.labels;
  const { channels, imageSize } = model.config;
  const all = scope(() => {
    const logits = Tensor.empty(gpu, [records.length, classes.length], 'f32', 'logits');
    const state = makeStepState(gpu);
    for (let at = 0; at < records.length; at += batchSize)
      scope(() => {
        const index = Tensor.from(gpu, records.slice(at, at + batchSize) as Uint32Array<ArrayBuffer>);
        const images = Tensor.empty(gpu, [index.size, channels, ...imageSize], 'f32', 'images');
        const labels = Tensor.empty(gpu, [index.size], 'u32', 'labels');
        gatherBatch(store, index, state, NO_AUGMENTATION, images, labels);
        const rows = model.forward(images);
        gpu.copy(rows, { buffer: logits.buffer, offset: 4 * at * classes.length, bytes: rows.bytes });
      });
    return logits;
  });
  const values = await all.toFloat32();
  all.release();
  return values;
}

class Tally {
  private images = 0;
  private first = 0;
  private five = 0;
  private loss = 0;
  private readonly seen: number[];
  private readonly right: number[];

  constructor(private readonly classes: readonly string[]) {
    this.seen = classes.map(() => 0);
    this.right = classes.map(() => 0);
  }

  add(logits: Float32Array, label: number): void {
    const mine = logits[label] as number;
    let highest = Number.NEGATIVE_INFINITY;
    let before = 0;
    logits.forEach((x, c) => {
      highest = Math.max(highest, x);
      if (x > mine || (x === mine && c < label) || Number.isNaN(x)) before++;
    });
    let mass = 0;
    for (const x of logits) mass += Math.exp(x - highest);
    this.images++;
    this.loss += highest + Math.log(mass) - mine;
    this.seen[label] = (this.seen[label] as number) + 1;
    if (before < 5) this.five++;
    if (before > 0) return;
    this.first++;
    this.right[label] = (this.right[label] as number) + 1;
  }

  result(): Evaluation {
    const share = (n: number, of: number) => (of === 0 ? null : n / of);
    return {
      images: this.images,
      top1: this.first / this.images,
      top5: this.five / this.images,
      loss: this.loss / this.images,
      per_class: this.classes.map((name, c) => ({
        class: name,
        images: this.seen[c] as number,
        accuracy: share(this.right[c] as number, this.seen[c] as number),
      })),
    };
  }
}
