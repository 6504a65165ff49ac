/** A training run: epochs of steps, evaluation, early stopping, checkpoints, logs. Says what happens through a Reporter. */
import { NonFiniteError } from '../core/errors.js';
import { stream } from '../core/rng.js';
import { Sampler, splitIndices } from '../data/sampler.js';
import type { Dataset, Split } from '../data/sources.js';
import { uploadSplit } from '../data/store.js';
import type { Gpu } from '../gpu/gpu.js';
import { VisionTransformer } from '../models/vit.js';
import type { ImageStore } from '../ops/batch.js';
import { AdamW } from '../optim/adamw.js';
import { Ema } from '../optim/ema.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import { Arena } from '../tensor/arena.js';
import { decayRule, modelOptions } from './build.js';
import {
  checkpointNames,
  findCheckpoint,
  loadPart,
  metadataField,
  type Parts,
  readCheckpoint,
  saveCheckpoint,
  statePrefixes,
} from './checkpoint.js';
import { type Evaluation, evaluate } from './evaluate.js';
import type { EpochEntry, RunDirectory } from './run_directory.js';
import type { Settings } from './settings.js';
import { type StepMetrics, TrainingStep } from './step.js';

/** Everything a continuation must know that is not a tensor. */
interface Progress {
  /** Steps done in all, and batches done of the epoch under way. */
  step: number;
  epoch: number;
  batch: number;
  /** Sums over the epoch under way. */
  lossSum: number;
  correct: number;
  images: number;
  seconds: number;
  best: { accuracy: number; epoch: number } | null;
  history: EpochEntry[];
}

export interface StepReport {
  readonly step: number;
  readonly epoch: number;
  readonly batch: number;
  readonly batches: number;
  readonly totalSteps: number;
  /** Mean over the epoch so far. */
  readonly loss: number;
  readonly accuracy: number;
  readonly lr: number;
  readonly imagesPerSecond: number;
  readonly gflops: number;
}

export interface Reporter {
  start(trainer: Trainer): void;
  step(report: StepReport): void;
  epoch(entry: EpochEntry, isBest: boolean): void;
  note(sentence: string): void;
}

export interface TrainerInput {
  readonly gpu: Gpu;
  readonly settings: Settings;
  readonly dataset: Dataset;
  readonly run: RunDirectory;
  readonly reporter: Reporter;
  /** What config.json and checkpoints record besides the settings: version, adapter, driver. */
  readonly environment: Readonly<Record<string, unknown>>;
  readonly init?: string | undefined;
  readonly resume?: string | undefined;
}

export interface Outcome {
  /** Why it ended: all epochs done, patience, the step limit, or a request to stop. */
  readonly reason: 'finished' | 'patience' | 'max-steps' | 'stopped';
  readonly best: Progress['best'];
  readonly last: Evaluation | null;
  readonly history: readonly EpochEntry[];
}

interface Validation {
  readonly store: ImageStore;
  readonly records: Uint32Array;
  readonly split: Split;
  readonly name: string;
}

export class Trainer {
  readonly model: VisionTransformer;
  readonly schedule: Schedule;
  readonly totalSteps: number;
  readonly batches: number;
  /** Where the best checkpoint is chosen: `test`, or `validation` when images are held out for it. */
  readonly judge: string;
  stopRequested = false;

  private progress: Progress = {
    step: 0,
    epoch: 0,
    batch: 0,
    lossSum: 0,
    correct: 0,
    images: 0,
    seconds: 0,
    best: null,
    history: [],
  };

  private constructor(
    private readonly input: TrainerInput,
    model: VisionTransformer,
    private readonly arena: Arena,
    private readonly optimizer: AdamW,
    private readonly ema: Ema | null,
    private readonly sampler: Sampler,
    private readonly training: TrainingStep,
    private readonly validation: Validation,
  ) {
    const { settings } = input;
    this.model = model;
    this.judge = validation.name;
    this.batches = sampler.batches;
    const all = settings.epochs * this.batches;
    this.totalSteps = settings.maxSteps > 0 ? Math.min(settings.maxSteps, all) : all;
    this.schedule = {
      kind: settings.schedule,
      lr: settings.learningRate,
      warmupLr: settings.warmupLr,
      minLr: settings.minLr,
      warmupSteps: Math.round(settings.warmupEpochs * this.batches),
      totalSteps: all,
    };
  }

  /** Reads the data, builds the model, loads what is to be continued. The model's shape is checked before any of it. */
  static async prepare(input: TrainerInput): Promise<Trainer> {
    const { gpu, settings, dataset } = input;
    const model = new VisionTransformer(modelOptions(settings, dataset));
    const train = await dataset.load('train');
    const test = await dataset.load('test');
    const count = settings.limitTrain > 0 ? Math.min(settings.limitTrain, train.count) : train.count;
    const { train: records, validation: held } = splitIndices(count, settings.valSplit, settings.seed);
    const arena = new Arena(gpu, model.parameters(), decayRule(settings.decay));
    const order = new Map(model.parameters().map((parameter, i) => [parameter, i]));
    arena.write(arena.values, (parameter) =>
      parameter.initial(settings.seed, order.get(parameter) as number),
    );
    if (input.init) loadPart(input.init, readCheckpoint(input.init), arena, arena.values);
    const { beta1, beta2, adamEps: eps, weightDecay, emaDecay, seed } = settings;
    const optimizer = new AdamW(arena, { beta1, beta2, eps, weightDecay });
    const ema = emaDecay > 0 ? new Ema(arena, emaDecay) : null;
    const store = uploadSplit(gpu, dataset, train, settings.normalize);
    const validation =
      held.length > 0
        ? { store, records: held, split: train, name: 'validation' }
        : {
            store: uploadSplit(gpu, dataset, test, settings.normalize),
            records: everyRecord(test),
            split: test,
            name: 'test',
          };
    const crop = settings.augment === 'flip-crop';
    const training = new TrainingStep({
      model,
      arena,
      optimizer,
      ema,
      store,
      augmentation: { pad: crop ? 4 : 0, flip: crop, stream: stream.augment },
      clipGrad: settings.clipGrad,
      labelSmoothing: settings.labelSmoothing,
      slots: settings.logInterval,
    });
    const sampler = new Sampler(records, settings.batchSize, { shuffle: settings.shuffle, seed });
    const trainer = new Trainer(input, model, arena, optimizer, ema, sampler, training, validation);
    if (input.resume) trainer.restore(input.resume);
    return trainer;
  }

  async run(): Promise<Outcome> {
    const { settings, run, reporter, environment } = this.input;
    const { progress } = this;
    run.writeConfig({
      ...environment,
      settings,
      model: this.model.config,
      parameters: this.model.numParams(),
    });
    run.truncateSteps(progress.step);
    reporter.start(this);
    let last: Evaluation | null = null;
    let reason: Outcome['reason'] = 'finished';
    while (progress.epoch < settings.epochs && progress.step < this.totalSteps) {
      await this.trainEpoch();
      if (this.stopRequested) {
        await this.saveState();
        return { reason: 'stopped', best: progress.best, last, history: progress.history };
      }
      // The state of an epoch cut short by the step limit is that of its middle, so that a longer run can continue it.
      const partial = progress.batch < this.batches;
      if (partial || (progress.step >= this.totalSteps && progress.epoch + 1 < settings.epochs))
        reason = 'max-steps';
      if (partial) await this.saveState();
      last = await this.endEpoch();
      if (!partial) await this.saveState();
      const waited = progress.epoch - (progress.best?.epoch ?? 0);
      if (settings.patience > 0 && waited >= settings.patience) {
        reason = 'patience';
        break;
      }
    }
    await this.saveWeights(checkpointNames.final);
    if (this.ema) await this.saveWeights('final.ema.safetensors', this.ema.average);
    return { reason, best: progress.best, last, history: progress.history };
  }

  /** Evaluates the weights as they are. */
  async evaluate(): Promise<Evaluation> {
    const { store, records, split } = this.validation;
    const { dataset, settings } = this.input;
    const batchSize = Math.max(settings.batchSize, 100);
    return evaluate({
      model: this.model,
      store,
      records,
      labels: split.labels,
      classes: dataset.classes,
      batchSize,
    });
  }

  /** The batches left of the epoch, or until the step limit or a request to stop. */
  private async trainEpoch(): Promise<void> {
    const { settings } = this.input;
    const { progress, sampler } = this;
    const submitted: Promise<unknown>[] = [];
    let pending: { step: number; images: number; lr: number }[] = [];
    let since = performance.now();
    while (progress.batch < this.batches && progress.step < this.totalSteps && !this.stopRequested) {
      const records = sampler.batch(progress.epoch, progress.batch);
      const lr = learningRate(this.schedule, progress.step);
      const t = progress.step + 1;
      this.training.run(records, {
        seed: settings.seed,
        step: progress.step,
        slot: progress.step % settings.logInterval,
        lr,
        ...this.optimizer.corrections(lr, t),
        emaDecay: this.ema?.decayAt(t) ?? 0,
      });
      pending.push({ step: t, images: records.length, lr });
      progress.step = t;
      progress.batch++;
      // At most two steps in flight: the host prepares one while the device runs the other.
      submitted.push(this.input.gpu.submitted());
      if (submitted.length > 2) await this.input.gpu.settle(submitted.shift() as Promise<unknown>);
      if (t % settings.logInterval === 0 || progress.batch === this.batches || t === this.totalSteps) {
        await this.log(pending, since);
        pending = [];
        since = performance.now();
      }
    }
    if (pending.length > 0) await this.log(pending, since);
  }

  private async log(
    pending: readonly { step: number; images: number; lr: number }[],
    since: number,
  ): Promise<void> {
    const { settings, run, reporter } = this.input;
    const { progress } = this;
    const metrics = await this.training.read(pending.map(({ step }) => (step - 1) % settings.logInterval));
    const seconds = (performance.now() - since) / 1000;
    const images = pending.reduce((n, entry) => n + entry.images, 0);
    pending.forEach((entry, i) => {
      const { loss, correct, gradNorm } = metrics[i] as StepMetrics;
      if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
        throw new NonFiniteError(
          `Step ${entry.step}: the ${Number.isFinite(loss) ? 'gradient norm' : 'loss'} is ${Number.isFinite(loss) ? gradNorm : loss}. ` +
            'A lower --learning-rate, a longer warm-up or --clip-grad 1 may help; the last saved state is untouched.',
        );
      progress.lossSum += loss * entry.images;
      progress.correct += correct;
      progress.images += entry.images;
      if (entry.step % settings.logInterval === 0)
        run.appendStep({
          step: entry.step,
          epoch: progress.epoch + 1,
          loss,
          lr: entry.lr,
          grad_norm: gradNorm,
          images_per_second: images / seconds,
        });
    });
    progress.seconds += seconds;
    reporter.step({
      step: progress.step,
      epoch: progress.epoch + 1,
      batch: progress.batch,
      batches: this.batches,
      totalSteps: this.totalSteps,
      loss: progress.lossSum / progress.images,
      accuracy: progress.correct / progress.images,
      lr: pending.at(-1)?.lr ?? 0,
      imagesPerSecond: images / seconds,
      gflops: (images * this.training.flopsPerImage) / seconds / 1e9,
    });
  }

  /** Evaluation, history, best and numbered checkpoints; then the counters move to the next epoch. */
  private async endEpoch(): Promise<Evaluation | null> {
    const { settings, run, reporter } = this.input;
    const { progress } = this;
    const number = progress.epoch + 1;
    const last = number === settings.epochs || progress.step >= this.totalSteps;
    const judged = last || number % settings.evalInterval === 0 ? await this.evaluate() : null;
    const entry: EpochEntry = {
      epoch: number,
      train_loss: progress.lossSum / progress.images,
      train_accuracy: progress.correct / progress.images,
      val_loss: judged?.loss ?? null,
      val_accuracy: judged?.top1 ?? null,
      lr: learningRate(this.schedule, progress.step - 1),
      seconds: progress.seconds,
    };
    const isBest = judged !== null && judged.top1 > (progress.best?.accuracy ?? -1);
    if (isBest) progress.best = { accuracy: judged.top1, epoch: number };
    progress.history.push(entry);
    Object.assign(progress, { epoch: number, batch: 0, lossSum: 0, correct: 0, images: 0, seconds: 0 });
    run.writeHistory(progress.history);
    if (isBest) await this.saveWeights(checkpointNames.best);
    if (settings.checkpointInterval > 0 && number % settings.checkpointInterval === 0)
      await this.saveWeights(checkpointNames.epoch(number));
    reporter.epoch(entry, isBest);
    return judged;
  }

  private metadata(): Record<string, unknown> {
    const { settings, dataset, environment } = this.input;
    return {
      settings,
      environment,
      model: this.model.config,
      classes: dataset.classes,
      step: this.progress.step,
    };
  }

  private async saveWeights(name: string, values = this.arena.values): Promise<void> {
    const path = this.input.run.checkpoint(name);
    await saveCheckpoint(path, this.arena, this.model.parameters(), { '': values }, this.metadata());
  }

  private parts(): Parts {
    const { m, v, ema } = statePrefixes;
    const average = this.ema ? { [ema]: this.ema.average } : {};
    return { '': this.arena.values, [m]: this.optimizer.m, [v]: this.optimizer.v, ...average };
  }

  private async saveState(): Promise<void> {
    const path = this.input.run.checkpoint(checkpointNames.state);
    const metadata = { ...this.metadata(), progress: this.progress };
    await saveCheckpoint(path, this.arena, this.model.parameters(), this.parts(), metadata);
  }

  private restore(from: string): void {
    const path = findCheckpoint(from, 'state');
    const file = readCheckpoint(path);
    this.progress = metadataField<Progress>(path, file, 'progress');
    for (const [prefix, part] of Object.entries(this.parts())) loadPart(path, file, this.arena, part, prefix);
    this.input.reporter.note(`Continuing from ${path}: ${this.progress.step} steps done.`);
  }
}

const everyRecord = ({ count }: Split): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i);
