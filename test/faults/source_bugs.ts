/** Bugs planted in src/: what the 40 most likely slips of a trainer would be, and the tests that must see them. */
import type { Bug } from './bugs.js';

/** Bugs that one file of tests sees: rows of what is wrong, where, and the text before and after. */
const seenBy = (file: string, tests: string, rows: readonly [string, string, string, string][]): Bug[] =>
  rows.map(([kind, path, from, to]) => ({
    ...{ kind, path: `src/${path}.ts`, from, to },
    ...{ file: `test/${file}.test.ts`, tests },
  }));

// biome-ignore format: tables
export const SOURCE_BUGS: readonly Bug[] = [
  ...seenBy('optim', 'learning rates', [
    ['a warm-up one step too long', 'optim/schedule', '* done) / warmupSteps', '* done) / (warmupSteps + 1)'],
    ['a cosine that starts before the warm-up', 'optim/schedule', '(done - warmupSteps) / Math.max(1, totalSteps - warmupSteps)', 'done / Math.max(1, totalSteps)'],
    ['a cycle whose peak is a step late', 'optim/schedule', 'ONE_CYCLE.rise * totalSteps - 1', 'ONE_CYCLE.rise * totalSteps'],
  ]),
  ...seenBy('optim', '^AdamW', [
    ['bias corrections of the next step', 'optim/adamw', '1 - beta2 ** t)', '1 - beta2 ** (t + 1))'],
  ]),
  ...seenBy('runs', 'schedule', [
    ['a schedule over all epochs, whatever was asked', 'train/prepare', 'settings.scheduleSteps || settings.epochs * batches', 'settings.epochs * batches'],
    ['a warm-up rounded down', 'train/prepare', 'Math.round(settings.warmupEpochs * batches)', 'Math.floor(settings.warmupEpochs * batches)'],
  ]),
  ...seenBy('options', '^parameters', [
    ['biases that decay', 'train/build', 'shape.length >= 2', 'shape.length >= 1'],
    ['layer decay one block off', 'train/build', 'decay ** (depth - Number(block))', 'decay ** (depth - 1 - Number(block))'],
    ['queries, keys and values as one matrix', 'train/build', "=== 'attn.qkv' ? 3 : 1", "=== 'attn.qkv' ? 1 : 1"],
  ]),
  ...seenBy('options', '^settings', [
    ['a rate of 0 taken for none', 'train/build', 'own < 0 ? dropout', 'own <= 0 ? dropout'],
  ]),
  ...seenBy('options', '^the moving average', [
    ['the average preferred to equal weights', 'train/trainer', 'ema.top1 > raw.top1', 'ema.top1 >= raw.top1'],
  ]),
  ...seenBy('muon', '', [
    ['decay beyond the arena that AdamW moves', 'optim/adamw', 'Math.max(0, arena.decayed - layout.start)', 'arena.decayed'],
  ]),
  ...seenBy('train', '^batches', [
    ['the last, smaller batch dropped', 'data/sampler', 'Math.ceil(this.records.length / this.batchSize)', 'Math.floor(this.records.length / this.batchSize)'],
    ['one order for all epochs', 'data/sampler', 'epoch !== this.epoch', 'this.epoch < 0'],
    ['held-out images trained on', 'data/sampler', 'order.subarray(held)', 'order.subarray(0, count - held)'],
  ]),
  ...seenBy('train', '^settings', [
    ['a limit that is included', 'train/settings', 'value >= below', 'value > below'],
    ['the first layer of settings wins', 'train/settings', 'of layers)', 'of layers.toReversed())'],
  ]),
  ...seenBy('train', '^a run .*(stopped|logs)', [
    ['the line of the last step lost at a continuation', 'train/run_directory', '.step <= step', '.step < step'],
  ]),
  ...seenBy('train', '^accumulated', [
    ['parts that weigh the same whatever their size', 'train/step', 'part.length / records.length', '1 / count'],
    ['the mean loss of parts, not of images', 'train/step', '(loss * Math.min(microBatch, images - done)) / images', '(loss * microBatch) / images'],
  ]),
  ...seenBy('augment', '', [
    ['shifts that leave out the last pixel', 'data/augmentation', '(word % (2 * PADDING + 1)) - PADDING', '(word % (2 * PADDING)) - PADDING'],
  ]),
  ...seenBy('augment_draws', '', [
    ['boxes too large erased', 'data/augmentation', 'draw.between(0.02, 1 / 3)', 'draw.between(0.02, 0.5)'],
    ['bins of ten for bins of nine', 'data/policies', 'bin / 9', 'bin / 10'],
    ['ops applied more often than half', 'data/timm_policy', 'draw.uniform() >= 0.5', 'draw.uniform() >= 0.6'],
    ['a mix after its last step', 'data/mixing', 'step >= offStep', 'step > offStep'],
    ['the drawn share for the one that was cut', 'data/mixing', 'share: 1 - area / (height * width)', 'share: lambda'],
  ]),
  ...seenBy('augment_draws', 'jitter', [
    ['half of the jitter', 'data/color_jitter', 'draw.between(Math.max(0, 1 - limit), 1 + limit)', 'draw.between(Math.max(0, 1 - limit / 2), 1 + limit / 2)'],
  ]),
  ...seenBy('dropout', '', [
    ['the rate of projections for the hidden units of the MLP', 'nn/transformer', 'new Dropout(mlpDropout, streams)', 'new Dropout(residualDropout, streams)'],
    ['the rate of projections for attention weights', 'nn/transformer', 'this.rate = attentionDropout', 'this.rate = residualDropout'],
  ]),
  ...seenBy('differential_host', '', [
    ['drop path that does not reach its rate', 'nn/dropout', 'Math.max(1, depth - 1)', 'depth'],
    ['an average one step ahead', 'optim/ema', '1 - t ** -POWER', '1 - (1 + t) ** -POWER'],
    ['a box that loses its odd row', 'data/mixing', 'middle + length - half', 'middle + half'],
  ]),
  ...seenBy('safetensors', '', [
    ['a hole in the data accepted', 'io/safetensors_header', 'if (begin > end)', 'if (begin > end + 8)'],
    ['half of every bfloat16', 'io/safetensors', 'h << 16', 'h << 15'],
  ]),
  ...seenBy('arena', '', [
    ['a last piece beyond the end', 'tensor/arena', 'Math.min(from, this.size - floats)', 'from'],
  ]),
  ...seenBy('score', '', [
    ['the sixth counted among the first five', 'train/score', 'before < 5', 'before <= 5'],
    ['calibration bins open above', 'train/score', 'Math.ceil(confidence * BINS) - 1', 'Math.floor(confidence * BINS)'],
    ['logits averaged instead of probabilities', 'train/score', 'Math.log((value + q[c]!) / 2)', '(Math.log(value) + Math.log(q[c]!)) / 2'],
  ]),
  ...seenBy('amp', 'follows', [
    ['gradients clipped before the loss scale is taken back', 'train/step', 'this.clip, clipGrad, lossScale?.scale', 'this.clip, clipGrad'],
  ]),
  ...seenBy('runs', '', [
    ['an evaluation before the state is saved', 'train/trainer', 'if (progress.step > before) await this.saveState();', ''],
    ['the best evaluation counted among those without a better one', 'train/trainer', 'epoch > (best?.epoch ?? 0)', 'epoch >= (best?.epoch ?? 0)'],
    ['a restart from the newest state, whatever was named', 'train/restarts', 'if (trainer?.hasSaved)', 'if (trainer)'],
    ['the mean loss of batches, not of images', 'train/journal', 'progress.lossSum += loss * entry.images', 'progress.lossSum += loss * settings.batchSize'],
  ]),
  ...seenBy('train', '^settings', [
    ['another seed allowed in a continuation', 'train/continuation', "'dataDir',\n", "'dataDir',\n  'seed',\n"],
  ]),
  ...seenBy('predict', '^the command', [
    ['logits of a batch over those of the one before', 'train/evaluate', 'offset: 4 * at * classes.length', 'offset: 0 * at'],
  ]),
  ...seenBy('health', '', [
    ['a spike among losses that are not all there', 'train/health', 'full && z > SPIKE', 'z > SPIKE'],
  ]),
];
