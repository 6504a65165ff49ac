/** Bugs planted in src/: the 40 most likely mistakes in a trainer, and the tests that must catch them. */
import type { Bug } from './bugs.js';

/** Bugs that one test file must catch. A row has the kind of bug, the file, and the text before and after. */
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
    ['a schedule over all epochs, whatever was asked', 'recipe/schedule', 'settings.scheduleSteps || settings.epochs * batches', 'settings.epochs * batches'],
    ['a warm-up rounded down', 'recipe/schedule', 'Math.round(settings.warmupEpochs * batches)', 'Math.floor(settings.warmupEpochs * batches)'],
  ]),
  ...seenBy('options', '^parameters', [
    ['biases that decay', 'tensor/parameter', 'shape.length >= 2', 'shape.length >= 1'],
    ['layer decay one block off', 'recipe/optimizer', 'decay ** (layers.length - 1 - i)', 'decay ** (layers.length - i)'],
    ['queries, keys and values as one matrix', 'nn/transformer', '3 * width, qkv, 3)', '3 * width, qkv, 1)'],
  ]),
  ...seenBy('options', '^settings', [
    ['a rate of 0 taken for none', 'models/vit_config', 'own < 0 ? dropout', 'own <= 0 ? dropout'],
  ]),
  ...seenBy('options', '^the moving average', [
    ['the average preferred to equal weights', 'training/fit', 'ema.top1 > raw.top1', 'ema.top1 >= raw.top1'],
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
    ['a limit that is included', 'core/setting', 'value >= below', 'value > below'],
    ['the first layer of settings wins', 'core/setting', 'of layers)', 'of layers.toReversed())'],
  ]),
  ...seenBy('train', '^a run .*(stopped|logs)', [
    ['the line of the last step lost at a continuation', 'runs/run_directory', '.step <= step', '.step < step'],
  ]),
  ...seenBy('train', '^accumulated', [
    ['parts that weigh the same whatever their size', 'training/step', 'batch.size / records.length', '1 / 2'],
    ['the mean loss of parts, not of images', 'training/metrics', '(loss * Math.min(microBatch, images - done)) / images', '(loss * microBatch) / images'],
  ]),
  ...seenBy('augment', '', [
    ['the weight of a mix for its share', 'ops/batch_plan', '[mix.share, mix.weight], 2', '[mix.weight, mix.share], 2'],
    ['frames of the images before', 'ops/batch_plan', 'b * FRAME_WORDS', '(b - Math.min(b, 1)) * FRAME_WORDS'],
  ]),
  ...seenBy('augment_draws', '', [
    ['shifts that leave out the last pixel', 'data/augmentation', '(word % (2 * PADDING + 1)) - PADDING', '(word % (2 * PADDING)) - PADDING'],
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
    ['the sixth counted among the first five', 'training/score', 'before < 5', 'before <= 5'],
    ['calibration bins open above', 'training/score', 'Math.ceil(confidence * BINS) - 1', 'Math.floor(confidence * BINS)'],
    ['logits averaged instead of probabilities', 'training/score', 'Math.log((value + q[c]!) / 2)', '(Math.log(value) + Math.log(q[c]!)) / 2'],
  ]),
  ...seenBy('amp', 'follows', [
    ['gradients clipped before the loss scale is taken back', 'training/step', 'this.clip, clipGrad, lossScale?.scale', 'this.clip, clipGrad'],
  ]),
  ...seenBy('runs', '', [
    ['an evaluation before the state is saved', 'training/fit', 'if (progress.step > before) await sink.state?.(this.snapshot(), { ending: false });', ''],
    ['the best evaluation counted among those without a better one', 'training/fit', 'epoch > (best?.epoch ?? 0)', 'epoch >= (best?.epoch ?? 0)'],
    ['a restart from the newest state, whatever was named', 'runs/restarts', 'if (trainer?.hasSaved)', 'if (trainer)'],
    ['the mean loss of batches, not of images', 'training/step_log', 'progress.lossSum += loss * entry.images', 'progress.lossSum += loss * this.training.settings.batchSize'],
  ]),
  ...seenBy('train', '^settings', [
    ['another seed allowed in a continuation', 'runs/continuation', "'dataDir',\n", "'dataDir',\n  'seed',\n"],
  ]),
  ...seenBy('predict', '^the command', [
    ['logits of a batch over those of the one before', 'training/evaluate', 'offset: 4 * at * classes.length', 'offset: 0 * at'],
  ]),
  ...seenBy('health', '', [
    ['a spike among losses that are not all there', 'training/health', 'full && z > SPIKE', 'z > SPIKE'],
  ]),
  ...seenBy('checkpoint', '', [
    ['random numbers counted by call: a block computed again draws others', 'nn/dropout', 'dropout(x, requireKey(mode), this.rate, this.stream)', 'dropout(x, requireKey(mode), this.rate, (this as { stream: number }).stream++)'],
    ['a gradient released before the block computed again has used it', 'autograd/tape', 'this.run(part.body), dy.retain()', 'this.run(part.body), dy'],
    ['inputs of a checkpoint not held', 'autograd/tape', 'for (const tensor of held(part)) tensor.retain();', ''],
    ['one block alone computed again', 'models/vit', 'block === this.blocks.at(-1)', 'block !== this.blocks[0]'],
    ['a step with checkpoints that cannot continue one without', 'runs/continuation', "'gradCheckpointing',\n", ''],
  ]),
  ...seenBy('gpu', '^the pool', [
    ['small tensors in large buffers, in a first recording too', 'gpu/pool', 'if (!this.borrowing) return undefined;', ''],
    ['borrowed buffers counted by what was asked for', 'gpu/pool', 'this.liveBytes += buffer.bytes', 'this.liveBytes += capacity'],
  ]),
  ...seenBy('forecast', '', [
    ['a prediction without the smaller last batch', 'training/forecast', 'count % batchSize', '0'],
    ['a batch size that just fits left out', 'training/forecast', 'if (bytes > gpu.memory.budgetBytes)', 'if (bytes >= gpu.memory.budgetBytes)'],
  ]),
];
