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
import { freshProgress, Journal, type Progress, type RunFacts } from './journal.js';
import { prepareParts, scheduleOf, type TrainerInput, type TrainerParts } from './prepare.js';
import type { EpochEntry } from './run_directory.js';

export interface Outcome {
  /** Why it ended: all epochs done, patience, the step limit, or a request to stop. */
  readonly reason: 'finished' | 'patience' | 'max-steps' | 'stopped';
  readonly best: Progress['best'];
  readonly last: Evaluation | null;
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
    this.journal = new Journal(settings, run, reporter, training, this);
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
    if (this.parts.ema) await this.saveWeights('final.ema.safetensors', this.parts.ema.average);
    return { reason, best: progress.best, last, history: progress.history };
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
        slot: progress.step % settings.logInterval,
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
      images: progress.images,
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

  private async saveWeights(name: string, values = this.parts.arena.values): Promise<void> {
    const path = this.input.run.checkpoint(name);
    await saveCheckpoint(path, this.parts.arena, this.model.parameters(), { '': values }, this.metadata());
  }

  /** All tensors that a continuation needs, by their prefix in the state file. */
  private state(): Parts {
    const { m, v, ema: prefix } = statePrefixes;
    const { arena, optimizer, ema } = this.parts;
    return {
      '': arena.values,
      [m]: optimizer.m,
      [v]: optimizer.v,
      ...(ema ? { [prefix]: ema.average } : {}),
    };
  }

  private async saveState(): Promise<void> {
    const path = this.input.run.checkpoint(checkpointNames.state);
    const metadata = { ...this.metadata(), progress: this.progress };
    await saveCheckpoint(path, this.parts.arena, this.model.parameters(), this.state(), metadata);
  }

  private restore(from: string): void {
    const path = findCheckpoint(from, 'state');
    const file = readCheckpoint(path);
    this.progress = metadataField<Progress>(path, file, 'progress');
    for (const [prefix, part] of Object.entries(this.state()))
      loadPart(path, file, this.parts.arena, part, prefix);
    this.input.reporter.note(`Continuing from ${path}: ${this.progress.step} steps done.`);
  }
}
