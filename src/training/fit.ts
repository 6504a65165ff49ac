/**
 * The training loop: epochs of steps, evaluation, early stopping. It runs wherever WebGPU does; everything worth keeping
 * goes to a sink.
 */
import { InterruptedError, LimitError, OutOfMemoryError } from '../core/errors.js';
import { Pace } from '../gpu/pace.js';
import { learningRate, type Schedule } from '../optim/schedule.js';
import { endsHigh, scheduleOf } from '../recipe/schedule.js';
import type { Part } from '../tensor/arena.js';
import { type Evaluation, type EvaluationInput, evaluate } from './evaluate.js';
import {
  type EpochEntry,
  freshEpoch,
  freshProgress,
  type Progress,
  type RunLength,
  type WeightsKind,
} from './progress.js';
import type { Training } from './setup.js';
import type { RunFacts, Sink, Snapshot } from './sink.js';
import { StepLog } from './step_log.js';

/** Evaluations of the weights and of their EMA, on the same images. */
export interface Judged {
  readonly raw: Evaluation;
  readonly ema: Evaluation | null;
}

export interface Outcome {
  /** Why it ended: all epochs done, patience, the step limit, or a request to stop. */
  readonly reason: 'finished' | 'patience' | 'max-steps' | 'stopped';
  readonly best: Progress['best'];
  /** The last evaluation of the weights, and of their EMA. */
  readonly last: Evaluation | null;
  readonly lastEma: Evaluation | null;
  readonly history: readonly EpochEntry[];
}

export interface FitOptions {
  /** How far the run has come; from the start when absent. `fit` changes it. */
  readonly progress?: Progress;
  /** Called for every step, from 1, when the device has been asked for it. */
  readonly onStep?: ((step: number) => void) | undefined;
  /** Asked between steps and batches: where it says yes, the run saves its state and ends. */
  readonly stopped?: () => boolean;
  /** Evaluates the weights; `evaluate` when absent. */
  readonly evaluate?: ((input: EvaluationInput) => Promise<Evaluation>) | undefined;
}

type Reason = Exclude<Outcome['reason'], 'stopped'>;

/** Trains to the end of the settings' epochs, or until `stopped`. A NonFiniteError ends a run that diverged. */
export const fit = (training: Training, sink: Sink = {}, options: FitOptions = {}): Promise<Outcome> =>
  new Fit(training, sink, options).run();

/** The learning rate schedule of a run, and its length. */
export function planOf({ settings, sampler }: Pick<Training, 'settings' | 'sampler'>): RunLength & {
  readonly schedule: Schedule;
} {
  const { batches } = sampler;
  const all = settings.epochs * batches;
  const totalSteps = settings.maxSteps > 0 ? Math.min(settings.maxSteps, all) : all;
  return { schedule: scheduleOf(settings, batches), batches, totalSteps };
}

class Fit {
  private readonly progress: Progress;
  private readonly stopped: () => boolean;
  private readonly facts: RunFacts;
  private readonly schedule: Schedule;
  private readonly log: StepLog;
  private judged: Judged | null = null;
  /** Images that are evaluated at a time: as many as are trained on, fewer where memory is short. */
  private evaluationBatch: number;

  constructor(
    private readonly training: Training,
    private readonly sink: Sink,
    private readonly options: FitOptions,
  ) {
    const { settings, model, validation } = training;
    const { schedule, ...length } = planOf(training);
    this.progress = options.progress ?? freshProgress();
    this.stopped = options.stopped ?? (() => false);
    this.schedule = schedule;
    this.facts = { ...length, model, logInterval: settings.logInterval, judge: validation.name };
    this.log = new StepLog(training, sink, length);
    this.evaluationBatch = settings.batchSize;
  }

  async run(): Promise<Outcome> {
    const { progress, sink } = this;
    const before = progress.step;
    sink.begin?.(this.facts, progress);
    const high = endsHigh(this.schedule, this.facts.totalSteps);
    if (high) sink.note?.(high);
    try {
      const reason = await this.epochs();
      if (progress.step === before) this.noteNothingLeft(reason);
      this.judged ??= await this.judgeWeights();
      // A state that was copied out of its run comes without the best weights: the last ones are the best there are.
      if (!progress.best) await this.keepIfBest(this.judged, progress.epoch);
      await sink.end?.(this.snapshot());
      await sink.state?.(this.snapshot(), { ending: true });
      return this.outcome(reason);
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error;
      await sink.state?.(this.snapshot(), { ending: true });
      return this.outcome('stopped');
    }
  }

  /** The epochs that are left; throws InterruptedError at a request to stop. */
  private async epochs(): Promise<Reason> {
    const { settings } = this.training;
    const { progress, sink, facts } = this;
    for (;;) {
      if (progress.epoch >= settings.epochs) return 'finished';
      if (settings.patience > 0 && this.waited() >= settings.patience) return 'patience';
      if (progress.step >= facts.totalSteps && progress.batch === 0) return 'max-steps';
      const before = progress.step;
      await this.trainEpoch();
      // Saved before the evaluation, which may fail for want of memory. A continuation evaluates the epoch anew.
      if (progress.step > before) await sink.state?.(this.snapshot(), { ending: false });
      const entry = await this.judgeEpoch();
      // A longer run continues the epoch where the step limit has cut it short, so the counters stay.
      if (progress.batch < facts.batches) return 'max-steps';
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

  private noteNothingLeft(reason: Reason): void {
    const { epoch, step } = this.progress;
    const why = {
      finished: `${epoch} epochs are done; a larger --epochs trains on`,
      patience: `the last ${this.waited()} evaluations were no better than the best; a larger --patience trains on`,
      'max-steps': `${step} steps are done; a larger --max-steps trains on`,
    };
    this.sink.note?.(`Nothing is left to train: ${why[reason]}.`);
  }

  private outcome(reason: Outcome['reason']): Outcome {
    const { best, history } = this.progress;
    const { judged } = this;
    return { reason, best, last: judged?.raw ?? null, lastEma: judged?.ema ?? null, history };
  }

  private snapshot(): Snapshot {
    return snapshotOf(this.training, this.progress);
  }

  /** The batches left of the epoch, or until the step limit; throws InterruptedError at a request to stop. */
  private async trainEpoch(): Promise<void> {
    const { settings, gpu, sampler, step: training, optimizer, ema } = this.training;
    const { progress, log, facts, schedule } = this;
    const pace = new Pace(gpu);
    log.resume();
    while (progress.batch < facts.batches && progress.step < facts.totalSteps && !this.stopped()) {
      const records = sampler.batch(progress.epoch, progress.batch);
      const lr = learningRate(schedule, progress.step);
      const t = progress.step + 1;
      training.run(records, {
        seed: settings.seed,
        step: progress.step,
        lr,
        ...optimizer.corrections(lr, t),
        emaDecay: ema?.decayAt(t) ?? 0,
      });
      log.add({ step: t, images: records.length, lr });
      progress.step = t;
      progress.batch++;
      await pace.next();
      this.options.onStep?.(t);
      if (log.isDue(t)) await log.write(progress);
    }
    await log.write(progress);
    if (this.stopped()) throw new InterruptedError('The run was asked to end.');
  }

  /** Evaluates the weights where it is time to, and hands the epoch to the sink; returns its entry. */
  private async judgeEpoch(): Promise<EpochEntry> {
    const { settings } = this.training;
    const { progress, sink, facts } = this;
    const { images, lossSum, correct, seconds } = progress;
    const number = progress.epoch + 1;
    const ending = number === settings.epochs || progress.step >= facts.totalSteps;
    const judged = ending || number % settings.evalInterval === 0 ? await this.judgeWeights() : null;
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
    const history = [...progress.history, entry];
    const isBest = judged !== null && betterOf(judged).accuracy > this.bestSoFar();
    await sink.epoch?.({ entry, history, step: progress.step, isBest }, { ending });
    if (judged) await this.keepIfBest(judged, number);
    if (settings.checkpointInterval > 0 && number % settings.checkpointInterval === 0)
      await sink.checkpoint?.(this.snapshot(), number);
    return entry;
  }

  private bestSoFar(): number {
    return this.progress.best?.accuracy ?? -1;
  }

  /** Keeps the evaluated weights as the best where they are better than all before. */
  private async keepIfBest(judged: Judged, epoch: number): Promise<void> {
    const better = betterOf(judged);
    if (better.accuracy <= this.bestSoFar()) return;
    this.progress.best = { ...better, epoch };
    await this.sink.best?.(this.snapshot(), better.weights);
  }

  /** Evaluates the weights, and their EMA where there is one. */
  private async judgeWeights(): Promise<Judged> {
    const { arena, ema } = this.training;
    const raw = await this.evaluate();
    return { raw, ema: ema && (await arena.withValues(ema.average, () => this.evaluate())) };
  }

  /** Evaluates in smaller batches where memory is short: the training step keeps its own buffers meanwhile. */
  private async evaluate(): Promise<Evaluation> {
    const { model, validation, dataset } = this.training;
    const { store, records, split } = validation;
    for (;;)
      try {
        return await (this.options.evaluate ?? evaluate)({
          ...{ model, store, records, labels: split.labels, classes: dataset.classes },
          batchSize: this.evaluationBatch,
          interrupted: this.stopped,
        });
      } catch (error) {
        const short = error instanceof OutOfMemoryError || error instanceof LimitError;
        if (!short || this.evaluationBatch === 1) throw error;
        this.evaluationBatch = Math.ceil(this.evaluationBatch / 2);
        this.sink.note?.(
          `Memory is short: the evaluation goes on with ${this.evaluationBatch} images at a time.`,
        );
      }
  }
}

/** The tensors and counters of a run, for a sink. */
export function snapshotOf(
  { model, arena, optimizer, ema, lossScale }: Training,
  progress: Progress,
): Snapshot {
  const weights: Part = { layout: arena, tensor: arena.values };
  const average: Part | null = ema && { layout: arena, tensor: ema.average };
  return {
    ...{ model, progress },
    weights: (kind) => (kind === 'raw' ? weights : average),
    state: { weights, ...optimizer.state, ...(average ? { ema: average } : {}) },
    lossScale: () => lossScale?.values() ?? null,
  };
}

/** The more accurate of both; the weights themselves where the EMA is no better. */
export function betterOf({ raw, ema }: Judged): { accuracy: number; weights: WeightsKind } {
  if (ema && ema.top1 > raw.top1) return { accuracy: ema.top1, weights: 'ema' };
  return { accuracy: raw.top1, weights: 'raw' };
}
