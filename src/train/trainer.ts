/** A training run: epochs of steps, evaluation, early stopping, checkpoints. Says what happens through a Reporter. */
import type { VisionTransformer } from '../models/vit.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
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
import { FiniteCheck } from './health.js';
import { freshProgress, Journal, type Progress, type RunFacts, type WeightsKind } from './journal.js';
import { prepareParts, scheduleOf, type TrainerInput, type TrainerParts } from './prepare.js';
import type { EpochEntry } from './run_directory.js';

/** Both sets of weights, judged on the same images. */
export interface Judged {
  readonly raw: Evaluation;
  readonly ema: Evaluation | null;
}

export interface Outcome {
  /** Why it ended: all epochs done, patience, the step limit, or a request to stop. */
  readonly reason: 'finished' | 'patience' | 'max-steps' | 'stopped';
  readonly best: Progress['best'];
  /** The last evaluation of the weights as they are, and of their moving average. */
  readonly last: Evaluation | null;
  readonly lastEma: Evaluation | null;
  readonly history: readonly EpochEntry[];
}

export class Trainer implements RunFacts {
  readonly model: VisionTransformer;
  readonly schedule: Schedule;
  readonly totalSteps: number;
  readonly batches: number;
  readonly judge: string;
  stopRequested = false;

  private progress = freshProgress();
  private readonly journal: Journal;

  private constructor(
    private readonly input: TrainerInput,
    private readonly parts: TrainerParts,
  ) {
    const { settings, run, reporter } = input;
    const { model, sampler, validation, training } = parts;
    this.model = model;
    this.judge = validation.name;
    this.batches = sampler.batches;
    this.schedule = scheduleOf(settings, this.batches);
    const all = this.schedule.totalSteps;
    this.totalSteps = settings.maxSteps > 0 ? Math.min(settings.maxSteps, all) : all;
    const { arena, optimizer } = parts;
    const finite = new FiniteCheck(arena.gpu, {
      parameter: { layout: arena, tensor: arena.values },
      ...optimizer.state,
    });
    this.journal = new Journal(settings, run, reporter, training, finite, parts.lossScale, this);
  }

  /** Everything that a run needs, and what is to be continued where something is. */
  static async prepare(input: TrainerInput): Promise<Trainer> {
    const trainer = new Trainer(input, await prepareParts(input));
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
    run.startLogs(progress.step);
    reporter.start(this);
    let judged: Judged | null = null;
    let reason: Outcome['reason'] = 'finished';
    while (progress.epoch < settings.epochs && progress.step < this.totalSteps) {
      await this.trainEpoch();
      if (this.stopRequested) {
        await this.saveState();
        return this.outcome('stopped', judged);
      }
      // The state of an epoch cut short by the step limit is that of its middle, so that a longer run can continue it.
      const partial = progress.batch < this.batches;
      if (partial || (progress.step >= this.totalSteps && progress.epoch + 1 < settings.epochs))
        reason = 'max-steps';
      if (partial) await this.saveState();
      judged = await this.endEpoch();
      if (!partial) await this.saveState();
      const waited = progress.epoch - (progress.best?.epoch ?? 0);
      if (settings.patience > 0 && waited >= settings.patience) {
        reason = 'patience';
        break;
      }
    }
    await this.saveWeights(checkpointNames.final);
    if (this.parts.ema) await this.saveWeights(checkpointNames.finalEma, 'ema');
    return this.outcome(reason, judged);
  }

  private outcome(reason: Outcome['reason'], judged: Judged | null): Outcome {
    const { best, history } = this.progress;
    return { reason, best, last: judged?.raw ?? null, lastEma: judged?.ema ?? null, history };
  }

  /** Evaluates the weights as they are. */
  async evaluate(): Promise<Evaluation> {
    const { store, records, split } = this.parts.validation;
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

  /** Evaluates the weights, and their moving average where there is one. */
  private async judgeWeights(): Promise<Judged> {
    const { arena, ema } = this.parts;
    const raw = await this.evaluate();
    return { raw, ema: ema && (await arena.withValues(ema.average, () => this.evaluate())) };
  }

  /** The batches left of the epoch, or until the step limit or a request to stop. */
  private async trainEpoch(): Promise<void> {
    const { settings, gpu } = this.input;
    const { progress, journal } = this;
    const { sampler, training, optimizer, ema } = this.parts;
    const submitted: Promise<unknown>[] = [];
    journal.resume();
    while (progress.batch < this.batches && progress.step < this.totalSteps && !this.stopRequested) {
      const records = sampler.batch(progress.epoch, progress.batch);
      const lr = learningRate(this.schedule, progress.step);
      const t = progress.step + 1;
      training.run(records, {
        seed: settings.seed,
        step: progress.step,
        lr,
        ...optimizer.corrections(lr, t),
        emaDecay: ema?.decayAt(t) ?? 0,
      });
      journal.add({ step: t, images: records.length, lr });
      progress.step = t;
      progress.batch++;
      // At most two steps in flight: the host prepares one while the device runs the other.
      submitted.push(gpu.submitted());
      if (submitted.length > 2) await gpu.settle(submitted.shift() as Promise<unknown>);
      if (t % settings.logInterval === 0) await journal.write(progress);
    }
    await journal.write(progress);
  }

  /** Evaluation, history, best and numbered checkpoints; then the counters move to the next epoch. */
  private async endEpoch(): Promise<Judged | null> {
    const { settings, run, reporter } = this.input;
    const { progress } = this;
    const number = progress.epoch + 1;
    const last = number === settings.epochs || progress.step >= this.totalSteps;
    const judged = last || number % settings.evalInterval === 0 ? await this.judgeWeights() : null;
    const entry: EpochEntry = {
      epoch: number,
      train_loss: progress.lossSum / progress.images,
      train_accuracy: progress.correct / progress.images,
      images: progress.images,
      val_loss: judged?.raw.loss ?? null,
      val_accuracy: judged?.raw.top1 ?? null,
      ema_val_loss: judged?.ema?.loss ?? null,
      ema_val_accuracy: judged?.ema?.top1 ?? null,
      lr: learningRate(this.schedule, progress.step - 1),
      seconds: progress.seconds,
    };
    const better = judged && betterOf(judged);
    const isBest = better !== null && better.accuracy > (progress.best?.accuracy ?? -1);
    if (isBest) progress.best = { ...better, epoch: number };
    progress.history.push(entry);
    Object.assign(progress, { epoch: number, batch: 0, lossSum: 0, correct: 0, images: 0, seconds: 0 });
    run.writeHistory(progress.history);
    run.appendEpoch(progress.step, entry);
    if (isBest) await this.saveWeights(checkpointNames.best, better.weights);
    if (settings.checkpointInterval > 0 && number % settings.checkpointInterval === 0)
      await this.saveWeights(checkpointNames.epoch(number));
    reporter.epoch(entry, isBest);
    return judged;
  }

  private metadata(): Record<string, unknown> {
    const { settings, dataset, environment } = this.input;
    const { channels, height, width, mean, std } = dataset;
    return {
      settings,
      environment,
      model: this.model.config,
      classes: dataset.classes,
      images: { channels, height, width, mean, std },
      step: this.progress.step,
    };
  }

  private async saveWeights(name: string, weights: WeightsKind = 'raw'): Promise<void> {
    const path = this.input.run.checkpoint(name);
    const { arena, ema } = this.parts;
    const tensor = weights === 'ema' && ema ? ema.average : arena.values;
    const metadata = { ...this.metadata(), weights };
    await saveCheckpoint(path, this.model.parameters(), { '': { layout: arena, tensor } }, metadata);
  }

  /** All tensors that a continuation needs, by their prefix in the state file. */
  private state(): Parts {
    const { arena, optimizer, ema } = this.parts;
    const parts = { ...optimizer.state, ...(ema ? { ema: { layout: arena, tensor: ema.average } } : {}) };
    const named = Object.entries(parts).map(([name, part]) => [
      statePrefixes[name as keyof typeof statePrefixes],
      part,
    ]);
    return { '': { layout: arena, tensor: arena.values }, ...Object.fromEntries(named) };
  }

  private async saveState(): Promise<void> {
    const path = this.input.run.checkpoint(checkpointNames.state);
    const { lossScale } = this.parts;
    const scale = lossScale && { loss_scale: await lossScale.values() };
    const metadata = { ...this.metadata(), progress: this.progress, ...scale };
    await saveCheckpoint(path, this.model.parameters(), this.state(), metadata);
  }

  private restore(from: string): void {
    const path = findCheckpoint(from, 'state');
    const file = readCheckpoint(path);
    this.progress = metadataField<Progress>(path, file, 'progress');
    for (const [prefix, { layout, tensor }] of Object.entries(this.state()))
      loadPart(path, file, layout, tensor, prefix);
    this.parts.lossScale?.restore(metadataField<number[]>(path, file, 'loss_scale'));
    this.input.reporter.note(`Continuing from ${path}: ${this.progress.step} steps done.`);
  }
}

/** The more accurate of both; the weights as they are where the average is no better. */
export function betterOf({ raw, ema }: Judged): { accuracy: number; weights: WeightsKind } {
  if (ema && ema.top1 > raw.top1) return { accuracy: ema.top1, weights: 'ema' };
  return { accuracy: raw.top1, weights: 'raw' };
}
