/** A training run: epochs of steps, evaluation, early stopping, checkpoints. Says what happens through a Reporter. */
import { InterruptedError, LimitError, OutOfMemoryError } from '../core/errors.js';
import { Pace } from '../gpu/pace.js';
import { writeContent } from '../io/atomic.js';
import type { VisionTransformer } from '../models/vit.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import {
  checkpointContent,
  checkpointNames,
  loadParts,
  metadataField,
  type Parts,
  statePrefixes,
} from './checkpoint.js';
import { describeContinuation } from './continuation.js';
import { type Evaluation, evaluate } from './evaluate.js';
import {
  freshEpoch,
  freshProgress,
  isLogged,
  Journal,
  type Progress,
  type RunFacts,
  type WeightsKind,
} from './journal.js';
import { endsHigh, prepareParts, scheduleOf, type TrainerInput, type TrainerParts } from './prepare.js';
import type { EpochEntry } from './run_directory.js';
import { isSameFolder, runOf } from './run_paths.js';
import { SaveFailures } from './save_failures.js';
import { findState, removeStaleTemporaries, saveState as writeState } from './states.js';

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
  /** Whether this trainer has written a state: from then on the run's newest state is its own. */
  hasSaved = false;

  private progress = freshProgress();
  private judged: Judged | null = null;
  /** The run directory that is continued in another one; null where there is none. */
  private origin: string | null = null;
  /** Images that are evaluated at a time: as many as are trained on, fewer where memory is short. */
  private evaluationBatch: number;
  private readonly journal: Journal;
  // Weights that can be written say nothing of states, which are three times as large.
  private readonly failures = {
    weights: new SaveFailures(),
    state: new SaveFailures(),
    history: new SaveFailures(),
  };

  private constructor(
    private readonly input: TrainerInput,
    private readonly parts: TrainerParts,
    private readonly releaseParts: () => void,
  ) {
    const { settings, run, reporter } = input;
    const { model, sampler, validation, training, finite } = parts;
    this.model = model;
    this.judge = validation.name;
    this.batches = sampler.batches;
    this.schedule = scheduleOf(settings, this.batches);
    const all = settings.epochs * this.batches;
    this.totalSteps = settings.maxSteps > 0 ? Math.min(settings.maxSteps, all) : all;
    this.evaluationBatch = settings.batchSize;
    this.journal = new Journal(settings, run, reporter, training, finite, parts.lossScale, this);
  }

  /** Everything that a run needs, and what is to be continued where something is. */
  static async prepare(input: TrainerInput): Promise<Trainer> {
    const { made, release } = await prepareParts(input);
    const trainer = new Trainer(input, made, release);
    if (input.resume) trainer.restore(input.resume);
    return trainer;
  }

  /** Gives its memory on the device back: after a run, or after one that failed for the want of memory. */
  release(): void {
    this.parts.training.release();
    this.releaseParts();
  }

  async run(): Promise<Outcome> {
    const { progress } = this;
    const before = progress.step;
    this.start();
    try {
      const reason = await this.epochs();
      if (progress.step === before) this.noteNothingLeft(reason);
      this.judged ??= await this.judgeWeights();
      // A state that was copied out of its run comes without the best weights: the last ones are the best there are.
      if (!progress.best) await this.keepIfBest(this.judged, progress.epoch);
      await this.saveWeights(checkpointNames.final, 'raw', true);
      if (this.parts.ema) await this.saveWeights(checkpointNames.finalEma, 'ema', true);
      await this.saveState(true);
      return this.outcome(reason);
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error;
      await this.saveState(true);
      return this.outcome('stopped');
    }
  }

  /** Writes what is known before the first step, and takes up the logs of the run that is continued. */
  private start(): void {
    const { settings, run, reporter, environment } = this.input;
    const { progress } = this;
    run.writeConfig({
      ...environment,
      settings,
      model: this.model.config,
      parameters: this.model.numParams(),
    });
    if (this.origin) run.adopt(this.origin);
    if (progress.best && !run.hasBest(progress.step)) {
      reporter.note(
        `The best weights so far, of epoch ${progress.best.epoch}, are not in ${run.path}: the best is judged anew.`,
      );
      progress.best = null;
    }
    run.startLogs(progress.step, isLogged(progress.step, settings, this));
    if (progress.history.length > 0) run.writeHistory(progress.history);
    reporter.start(this);
    const high = endsHigh(this.schedule, this.totalSteps);
    if (high) reporter.note(high);
  }

  /** The epochs that are left; throws InterruptedError at a request to stop. */
  private async epochs(): Promise<Exclude<Outcome['reason'], 'stopped'>> {
    const { settings } = this.input;
    const { progress } = this;
    for (;;) {
      if (progress.epoch >= settings.epochs) return 'finished';
      if (settings.patience > 0 && this.waited() >= settings.patience) return 'patience';
      if (progress.step >= this.totalSteps && progress.batch === 0) return 'max-steps';
      const before = progress.step;
      await this.trainEpoch();
      // Saved before the evaluation, which may fail for the want of memory. A continuation evaluates the epoch anew.
      if (progress.step > before) await this.saveState();
      const entry = await this.judgeEpoch();
      // A longer run continues the epoch where the step limit has cut it short, so the counters stay.
      if (progress.batch < this.batches) return 'max-steps';
      progress.history.push(entry);
      Object.assign(progress, freshEpoch(), { epoch: progress.epoch + 1 });
    }
  }

  /** Evaluations since the best one. */
  private waited(): number {
    const { best, history } = this.progress;
    const later = history.filter(({ epoch }) => epoch > (best?.epoch ?? 0));
    return later.filter(({ val_accuracy }) => val_accuracy !== null).length;
  }

  private noteNothingLeft(reason: Exclude<Outcome['reason'], 'stopped'>): void {
    const { epoch, step } = this.progress;
    const why = {
      finished: `${epoch} epochs are done; a larger --epochs trains on`,
      patience: `the last ${this.waited()} evaluations were no better than the best; a larger --patience trains on`,
      'max-steps': `${step} steps are done; a larger --max-steps trains on`,
    };
    this.input.reporter.note(`Nothing is left to train: ${why[reason]}.`);
  }

  private outcome(reason: Outcome['reason']): Outcome {
    const { best, history } = this.progress;
    const { judged } = this;
    return { reason, best, last: judged?.raw ?? null, lastEma: judged?.ema ?? null, history };
  }

  /**
   * Evaluates the weights as they are, in smaller batches where memory is short: the training step keeps its own buffers
   * meanwhile. A request to stop ends it with an InterruptedError.
   */
  async evaluate(): Promise<Evaluation> {
    const { store, records, split } = this.parts.validation;
    const { dataset } = this.input;
    for (;;)
      try {
        return await evaluate({
          model: this.model,
          store,
          records,
          labels: split.labels,
          classes: dataset.classes,
          batchSize: this.evaluationBatch,
          interrupted: () => this.stopRequested,
        });
      } catch (error) {
        const short = error instanceof OutOfMemoryError || error instanceof LimitError;
        if (!short || this.evaluationBatch === 1) throw error;
        this.evaluationBatch = Math.ceil(this.evaluationBatch / 2);
        this.input.reporter.note(
          `Memory is short: the evaluation goes on with ${this.evaluationBatch} images at a time.`,
        );
      }
  }

  /** Evaluates the weights, and their moving average where there is one. */
  private async judgeWeights(): Promise<Judged> {
    const { arena, ema } = this.parts;
    const raw = await this.evaluate();
    return { raw, ema: ema && (await arena.withValues(ema.average, () => this.evaluate())) };
  }

  /** The batches left of the epoch, or until the step limit; throws InterruptedError at a request to stop. */
  private async trainEpoch(): Promise<void> {
    const { settings, gpu } = this.input;
    const { progress, journal } = this;
    const { sampler, training, optimizer, ema } = this.parts;
    const pace = new Pace(gpu);
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
      await pace.next();
      this.input.onStep?.(t);
      if (journal.isDue(t)) await journal.write(progress);
    }
    await journal.write(progress);
    if (this.stopRequested) throw new InterruptedError('The run was asked to end.');
  }

  /** Evaluates where it is time to, and writes history, best and numbered checkpoints; returns the epoch's entry. */
  private async judgeEpoch(): Promise<EpochEntry> {
    const { settings, run, reporter } = this.input;
    const { progress } = this;
    const { images, lossSum, correct, seconds } = progress;
    const number = progress.epoch + 1;
    const last = number === settings.epochs || progress.step >= this.totalSteps;
    const judged = last || number % settings.evalInterval === 0 ? await this.judgeWeights() : null;
    this.judged = judged;
    const entry: EpochEntry = {
      epoch: number,
      train_loss: images > 0 ? lossSum / images : null,
      train_accuracy: images > 0 ? correct / images : null,
      images,
      val_loss: judged?.raw.loss ?? null,
      val_accuracy: judged?.raw.top1 ?? null,
      ema_val_loss: judged?.ema?.loss ?? null,
      ema_val_accuracy: judged?.ema?.top1 ?? null,
      lr: learningRate(this.schedule, progress.step - 1),
      seconds,
    };
    await this.save('history', () => run.writeHistory([...progress.history, entry]), last);
    run.appendEpoch(progress.step, entry);
    const isBest = judged !== null && (await this.keepIfBest(judged, number));
    if (settings.checkpointInterval > 0 && number % settings.checkpointInterval === 0)
      await this.saveWeights(checkpointNames.epoch(number));
    reporter.epoch(entry, isBest);
    return entry;
  }

  /** Saves what was judged as the best weights where it is better than all before; returns whether it is. */
  private async keepIfBest(judged: Judged, epoch: number): Promise<boolean> {
    const better = betterOf(judged);
    if (better.accuracy <= (this.progress.best?.accuracy ?? -1)) return false;
    this.progress.best = { ...better, epoch };
    await this.saveWeights(checkpointNames.best, better.weights);
    return true;
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
      data: this.parts.fingerprint,
      step: this.progress.step,
    };
  }

  /** `ending`: nothing comes after this save that could make up for it. */
  private async saveWeights(name: string, weights: WeightsKind = 'raw', ending = false): Promise<void> {
    const path = this.input.run.checkpoint(name);
    const { arena, ema } = this.parts;
    const tensor = weights === 'ema' && ema ? ema.average : arena.values;
    const parts = { '': { layout: arena, tensor } };
    const content = checkpointContent(this.model.parameters(), parts, { ...this.metadata(), weights });
    await this.save('weights', () => writeContent(path, content), ending);
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

  private async saveState(ending = false): Promise<void> {
    const { lossScale } = this.parts;
    const scale = lossScale && { loss_scale: await lossScale.values() };
    const metadata = { ...this.metadata(), progress: this.progress, ...scale };
    const content = checkpointContent(this.model.parameters(), this.state(), metadata);
    const { run } = this.input;
    const write = async () => {
      run.flushLogs(); // a state says that the steps before it are told
      await writeState(run.path, content);
      this.hasSaved = true;
    };
    await this.save('state', write, ending);
  }

  /** A disk that refuses is told of, and tried again at the next save; three times in a row end the run. */
  private async save(
    kind: keyof Trainer['failures'],
    write: () => void | Promise<void>,
    ending: boolean,
  ): Promise<void> {
    try {
      await write();
      this.failures[kind].succeeded();
    } catch (error) {
      if (ending) throw error;
      this.input.reporter.note(this.failures[kind].failed(error));
    }
  }

  private restore(from: string): void {
    removeStaleTemporaries(this.input.run.path);
    const { path, file, damaged } = findState(from);
    for (const sentence of damaged) this.input.reporter.note(`${sentence} The state before it is used.`);
    this.progress = metadataField<Progress>(path, file, 'progress');
    const origin = runOf(path);
    this.origin = origin && !isSameFolder(origin, this.input.run.path) ? origin : null;
    loadParts(path, this.state());
    this.parts.lossScale?.restore(metadataField<number[]>(path, file, 'loss_scale'));
    const { settings, environment, reporter } = this.input;
    const now = { settings, environment, data: this.parts.fingerprint };
    for (const note of describeContinuation(path, file, now)) reporter.note(note);
    reporter.note(`Continuing from ${path}: ${this.progress.step} steps done.`);
  }
}

/** The more accurate of both; the weights as they are where the average is no better. */
export function betterOf({ raw, ema }: Judged): { accuracy: number; weights: WeightsKind } {
  if (ema && ema.top1 > raw.top1) return { accuracy: ema.top1, weights: 'ema' };
  return { accuracy: raw.top1, weights: 'raw' };
}
