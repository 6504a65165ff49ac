/**
 * The training loop: steps, evaluation after an epoch, early stopping. It uses nothing of Node. Logs, weights and states go
 * to a sink.
 */
import { InterruptedError, LimitError, OutOfMemoryError } from '../core/errors.js';
import { Pace } from '../gpu/pace.js';
import { endsHigh } from '../recipe/schedule.js';
import { type Evaluation, type EvaluationInput, evaluate } from './evaluate.js';
import type { Limit } from './plan.js';
import { type EpochEntry, freshEpoch, freshProgress, type Progress, type WeightsKind } from './progress.js';
import type { Training } from './setup.js';
import type { RunFacts, Sink, Snapshot } from './sink.js';
import { StepLog } from './step_log.js';
import { partsOf } from './transfer.js';

/** Evaluations of the weights and of their EMA on the same images; `ema` is null without an EMA. */
export interface Evaluations {
  readonly raw: Evaluation;
  readonly ema: Evaluation | null;
}

/** The result of `fit`. */
export interface Outcome {
  /** The reason of the end: all epochs are done, the limit of steps or FLOPs, early stopping, or a request to stop. */
  readonly reason: Limit | 'patience' | 'stopped';
  /** The best evaluation of the run; null before the first. */
  readonly best: Progress['best'];
  /** The last evaluation of the weights, and of their EMA. */
  readonly last: Evaluation | null;
  readonly lastEma: Evaluation | null;
  readonly history: readonly EpochEntry[];
}

/** The options of `fit`, all optional. */
export interface FitOptions {
  /** The counters of a run to continue; a new run if absent. `fit` updates the object. */
  readonly progress?: Progress;
  /** Called with the number of each step, from 1, after the step was submitted to the device. */
  readonly onStep?: ((step: number) => void) | undefined;
  /** Called between steps and evaluation batches. If it returns true, the run saves its state and ends. */
  readonly stopped?: () => boolean;
  /**
   * The learning rate of the next step, from the scheduled one and the number of finished steps; the scheduled one if absent.
   * A resumed run has the same bits only if it gives the same rates.
   */
  readonly learningRate?: ((scheduled: number, done: number) => number) | undefined;
  /** Called between steps. If it returns true, the state goes to the sink, besides the states at the ends of epochs. */
  readonly saveDue?: (() => boolean) | undefined;
  /** Replaces `evaluate`, for tests. */
  readonly evaluate?: ((input: EvaluationInput) => Promise<Evaluation>) | undefined;
}

type Reason = Exclude<Outcome['reason'], 'stopped'>;

/**
 * Trains for the epochs of the settings, or until early stopping, the step limit or `stopped`. Throws a NonFiniteError if
 * the loss, a gradient or a parameter is not finite.
 */
export const fit = (training: Training, sink: Sink = {}, options: FitOptions = {}): Promise<Outcome> =>
  new Fit(training, sink, options).run();

class Fit {
  private readonly progress: Progress;
  private readonly stopped: () => boolean;
  private readonly facts: RunFacts;
  private readonly log: StepLog;
  private latest: Evaluations | null = null;
  /** Batch size of the evaluation: that of training, or less if memory is short. */
  private evaluationBatch: number;

  constructor(
    private readonly training: Training,
    private readonly sink: Sink,
    private readonly options: FitOptions,
  ) {
    const { settings, model, validation, plan } = training;
    const { batches, totalSteps } = plan;
    this.progress = options.progress ?? freshProgress();
    this.stopped = options.stopped ?? (() => false);
    const { logInterval } = settings;
    this.facts = { batches, totalSteps, model, logInterval, validationName: validation.name };
    this.log = new StepLog(training, sink, { batches, totalSteps });
    this.evaluationBatch = settings.batchSize;
  }

  async run(): Promise<Outcome> {
    const { progress, sink } = this;
    const before = progress.step;
    sink.begin?.(this.facts, progress);
    const high = endsHigh(this.training.plan.schedule, this.facts.totalSteps);
    if (high) sink.note?.(high);
    try {
      const reason = await this.epochs();
      if (progress.step === before) this.noteNothingLeft(reason);
      this.latest ??= await this.evaluateWeights();
      // If the state was copied from another run without its best weights, the final weights become the best.
      if (!progress.best) await this.keepBest(this.latest, progress.epoch);
      await sink.end?.(this.snapshot());
      await sink.state?.(this.snapshot(), { ending: true });
      return this.outcome(reason);
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error;
      await sink.state?.(this.snapshot(), { ending: true });
      return this.outcome('stopped');
    }
  }

  /** Trains the remaining epochs. Throws an InterruptedError at a request to stop. */
  private async epochs(): Promise<Reason> {
    const { settings, plan } = this.training;
    const { progress, sink, facts } = this;
    for (;;) {
      if (progress.epoch >= settings.epochs) return 'finished';
      if (settings.patience > 0 && this.waited() >= settings.patience) return 'patience';
      if (progress.step >= facts.totalSteps && progress.batch === 0) return plan.limit;
      const before = progress.step;
      await this.trainEpoch();
      // The state is saved before the evaluation, which may run out of memory. A resumed run evaluates the epoch again.
      if (progress.step > before) await sink.state?.(this.snapshot(), { ending: false });
      const entry = await this.finishEpoch();
      // The step limit has cut the epoch short. The counters stay, because a longer run may continue the epoch.
      if (progress.batch < facts.batches) return plan.limit;
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
      finished: `${epoch} epochs are done. Use a larger --epochs to continue`,
      patience: `the last ${this.waited()} evaluations were not better than the best. Use a larger --patience to continue`,
      'max-steps': `${step} steps are done. Use a larger --max-steps to continue`,
      'max-flops': `${step} steps have spent the FLOPs. Use a larger --max-flops to continue`,
    };
    this.sink.note?.(`Nothing is left to train: ${why[reason]}.`);
  }

  private outcome(reason: Outcome['reason']): Outcome {
    const { best, history } = this.progress;
    const { latest } = this;
    return { reason, best, last: latest?.raw ?? null, lastEma: latest?.ema ?? null, history };
  }

  private snapshot(): Snapshot {
    return snapshotOf(this.training, this.progress);
  }

  /** Trains to the end of the epoch or to the step limit. Throws an InterruptedError at a request to stop. */
  private async trainEpoch(): Promise<void> {
    const { training, progress, log, facts } = this;
    const pace = new Pace(training.gpu);
    log.resume(progress);
    while (progress.batch < facts.batches && progress.step < facts.totalSteps && !this.stopped()) {
      await this.enterPhase();
      this.submitStep();
      await pace.next();
      this.options.onStep?.(progress.step);
      if (log.isDue(progress.step)) await log.write(progress);
      if (this.options.saveDue?.()) await this.saveBetweenSteps();
    }
    await log.write(progress);
    if (this.stopped()) throw new InterruptedError('The run was asked to end.');
  }

  private async saveBetweenSteps(): Promise<void> {
    const { progress, log, sink } = this;
    await log.write(progress); // a state counts all of its steps
    await sink.state?.(this.snapshot(), { ending: false });
    log.resume(progress);
  }

  /** Goes on to the phase of the next step, if that is a later one. */
  private async enterPhase(): Promise<void> {
    const { training, progress, log, sink } = this;
    const phase = training.plan.phaseAt(progress.step);
    if (phase <= progress.phase) return;
    await log.write(progress);
    await training.enter(phase);
    progress.phase = phase;
    sink.note?.(`Step ${progress.step}: phase ${phase + 1} begins, ${training.model.label}.`);
    log.resume(progress);
  }

  /** Submits the next step, and counts it. */
  private submitStep(): void {
    const { training, progress, log } = this;
    const { settings, sampler, step, optimizer, ema, plan } = training;
    const records = sampler.batch(progress.epoch, progress.batch);
    const scheduled = plan.learningRate(progress.step);
    const lr = this.options.learningRate?.(scheduled, progress.step) ?? scheduled;
    const t = progress.step + 1;
    step.run(records, {
      seed: settings.seed,
      step: progress.step,
      lr,
      ...optimizer.corrections(lr, t),
      emaDecay: ema?.decayAt(t) ?? 0,
    });
    progress.flops += plan.flopsOf(progress.phase, progress.batch);
    progress.step = t;
    progress.batch++;
    log.add({ step: t, images: records.length, lr, flops: progress.flops });
  }

  /** Evaluates the weights if the evaluation interval has passed, passes the epoch to the sink, and returns its entry. */
  private async finishEpoch(): Promise<EpochEntry> {
    const { settings } = this.training;
    const { progress, sink, facts } = this;
    const { images, lossSum, correct, seconds } = progress;
    const number = progress.epoch + 1;
    const ending = number === settings.epochs || progress.step >= facts.totalSteps;
    const latest = ending || number % settings.evalInterval === 0 ? await this.evaluateWeights() : null;
    this.latest = latest;
    const entry: EpochEntry = {
      epoch: number,
      train_loss: images > 0 ? lossSum / images : null,
      train_accuracy: images > 0 ? correct / images : null,
      images,
      val_loss: latest?.raw.loss ?? null,
      val_accuracy: latest?.raw.top1 ?? null,
      ema_val_loss: latest?.ema?.loss ?? null,
      ema_val_accuracy: latest?.ema?.top1 ?? null,
      lr: this.training.plan.learningRate(progress.step - 1),
      seconds,
      flops: progress.flops,
    };
    const history = [...progress.history, entry];
    const isBest = latest !== null && betterOf(latest).accuracy > (progress.best?.accuracy ?? -1);
    await sink.epoch?.({ entry, history, step: progress.step, isBest }, { ending });
    if (isBest) await this.keepBest(latest, number);
    if (settings.checkpointInterval > 0 && number % settings.checkpointInterval === 0)
      await sink.checkpoint?.(this.snapshot(), number);
    return entry;
  }

  /** Passes the evaluated weights to the sink as the best of the run. */
  private async keepBest(evaluations: Evaluations, epoch: number): Promise<void> {
    const better = betterOf(evaluations);
    this.progress.best = { ...better, epoch };
    await this.sink.best?.(this.snapshot(), better.weights);
  }

  /** Evaluates the weights, and their EMA if there is one. */
  private async evaluateWeights(): Promise<Evaluations> {
    const { arena, ema } = this.training;
    const raw = await this.evaluate();
    return { raw, ema: ema && (await arena.withValues(ema.average, () => this.evaluate())) };
  }

  /** Evaluates once. If memory is short, halves the batch and tries again: the training step keeps its own buffers. */
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
          `Memory is short: the evaluation continues with a batch size of ${this.evaluationBatch}.`,
        );
      }
  }
}

/** A snapshot of a run's tensors and counters, for a sink. */
export function snapshotOf(
  { model, arena, optimizer, ema, lossScale }: Training,
  progress: Progress,
): Snapshot {
  const state = partsOf({ arena, optimizer, ema });
  return {
    ...{ model, progress, state },
    weights: (kind) => state[kind === 'raw' ? 'weights' : 'ema'] ?? null,
    lossScale: () => lossScale?.values() ?? null,
  };
}

/** The more accurate of the weights and their EMA; the weights if both are equal. */
export function betterOf({ raw, ema }: Evaluations): { accuracy: number; weights: WeightsKind } {
  if (ema && ema.top1 > raw.top1) return { accuracy: ema.top1, weights: 'ema' };
  return { accuracy: raw.top1, weights: 'raw' };
}
