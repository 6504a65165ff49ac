/** Evaluation: the logits of every image, and the scores computed from them. */

import { InterruptedError } from '../core/errors.js';
import { Pace } from '../gpu/pace.js';
import type { Model } from '../models/model.js';
import type { Mode } from '../nn/module.js';
import { gatherBatch, type ImageStore } from '../ops/batch.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type Evaluation, meanPrediction, score } from './score.js';

export type { ClassResult, Evaluation } from './score.js';

/** A model and the labelled images that evaluate it. */
export interface EvaluationInput {
  readonly model: Model;
  readonly store: ImageStore;
  /** The same images mirrored left to right. With them, the mean prediction of both is scored, too (test-time augmentation). */
  readonly mirrored?: ImageStore | undefined;
  /** Indices of the images to evaluate. */
  readonly records: Uint32Array;
  /** The class of every image of the store. */
  readonly labels: ArrayLike<number>;
  readonly classes: readonly string[];
  readonly batchSize: number;
  /** Called between batches. If it returns true, the evaluation throws an InterruptedError. */
  readonly interrupted?: (() => boolean) | undefined;
}

// Batches between two reads of logits, because a read drains the queue.
const BATCHES_A_READ = 32;

/** The input of `predict`, which needs no labels. */
export type PredictionInput = Omit<EvaluationInput, 'labels' | 'mirrored'>;

/**
 * Evaluates a model on the given records: top-1 and top-5 accuracy, loss (nats), calibration, confusion. Throws a
 * NonFiniteError if a logit is not finite, and an InterruptedError if `interrupted` returns true.
 */
export async function evaluate(input: EvaluationInput): Promise<Evaluation> {
  return evaluateLogits(input, await predict(input));
}

/** Scores the logits (n, K) of the records. The logits of mirrored images, if any, are computed here. */
export async function evaluateLogits(input: EvaluationInput, logits: Float32Array): Promise<Evaluation> {
  const { records, labels, classes, mirrored } = input;
  const answers = Array.from(records, (record) => labels[record] as number);
  const plain = score(logits, answers, classes);
  if (!mirrored) return plain;
  const both = meanPrediction(logits, await predict({ ...input, store: mirrored }), classes.length);
  const { images, top1, top5, loss, ece } = score(both, answers, classes);
  return { ...plain, tta: { method: 'flip', images, top1, top5, loss, ece } };
}

/** Logits (n, K) of the records, on the host, from forward passes of `batchSize` images. */
export async function predict(input: PredictionInput): Promise<Float32Array> {
  const { records, classes, batchSize } = input;
  const logits = new Float32Array(records.length * classes.length);
  const span = batchSize * BATCHES_A_READ;
  for (let start = 0; start < records.length; start += span)
    logits.set(await logitsOf(input, records.subarray(start, start + span)), start * classes.length);
  return logits;
}

async function logitsOf(
  { model, store, classes, batchSize, interrupted }: PredictionInput,
  records: Uint32Array,
): Promise<Float32Array> {
  const { gpu } = store.labels;
  const pace = new Pace(gpu);
  const logits = Tensor.empty(gpu, [records.length, classes.length], 'f32', 'logits');
  try {
    for (let at = 0; at < records.length; at += batchSize) {
      if (interrupted?.()) throw new InterruptedError('The evaluation was asked to end.');
      scope(() => {
        const rows = forward(model, store, records.subarray(at, at + batchSize));
        gpu.copy(rows, { buffer: logits.buffer, offset: 4 * at * classes.length, bytes: rows.bytes });
      });
      await pace.next();
    }
    return await logits.toFloat32();
  } finally {
    logits.release();
  }
}

/** Logits (n, K) of one batch of records, without augmentation and dropout. `observers` see what the model computes. */
export function forward(
  model: Model,
  store: ImageStore,
  records: Uint32Array,
  observers: Omit<Mode, 'training' | 'key'> = {},
): Tensor {
  const { gpu } = store.labels;
  const { channels, height, width } = model.images;
  return scope(() => {
    const index = Tensor.from(gpu, Uint32Array.from(records));
    const images = Tensor.empty(gpu, [index.size, channels, height, width], 'f32', 'images');
    const labels = Tensor.empty(gpu, [index.size], 'u32', 'labels');
    gatherBatch(store, index, images, labels);
    return model.forward(images, { training: false, ...observers });
  });
}
