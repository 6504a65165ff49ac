/** What a run says of its steps: counters that a continuation needs, log lines, reports for people. */
import { NonFiniteError } from '../core/errors.js';
import type { VisionTransformer } from '../models/vit.js';
import type { LossScale, LossScaleStatus } from '../optim/loss_scale.js';
import { type FiniteCheck, lossSpike } from './health.js';
import type { EpochEntry, RunDirectory } from './run_directory.js';
import { SaveFailures } from './save_failures.js';
import type { Settings } from './settings.js';
import type { StepMetrics, TrainingStep } from './step.js';

/** The weights as they are, or their moving average. */
export type WeightsKind = 'raw' | 'ema';

/** Counters of the epoch under way: its batches done, and sums over them. */
interface EpochCounters {
  batch: number;
  lossSum: number;
  correct: number;
  images: number;
  seconds: number;
}

/** Everything a continuation must know that is not a tensor. */
export interface Progress extends EpochCounters {
  /** Steps and epochs done in all. */
  step: number;
  epoch: number;
  /** Of the latest steps, for finding spikes. */
  losses: number[];
  best: { accuracy: number; epoch: number; weights: WeightsKind } | null;
  history: EpochEntry[];
}

export const freshEpoch = (): EpochCounters => ({ batch: 0, lossSum: 0, correct: 0, images: 0, seconds: 0 });

export const freshProgress = (): Progress => ({
  step: 0,
  epoch: 0,
  ...freshEpoch(),
  losses: [],
  best: null,
  history: [],
});

/** What is known before the first step. */
export interface RunFacts {
  readonly model: VisionTransformer;
  /** Steps an epoch, and in all. */
  readonly batches: number;
  readonly totalSteps: number;
  /** Where the best checkpoint is chosen: `test`, or `validation` when images are held out for it. */
  readonly judge: string;
}

export interface StepReport {
  readonly step: number;
  readonly epoch: number;
  readonly batch: number;
  readonly batches: number;
  readonly totalSteps: number;
  /** Means over the epoch so far; null while `--amp` has skipped all of its steps. */
  readonly loss: number | null;
  readonly accuracy: number | null;
  readonly lr: number;
  readonly imagesPerSecond: number;
  readonly gflops: number;
}

export interface Reporter {
  start(run: RunFacts): void;
  step(report: StepReport): void;
  epoch(entry: EpochEntry, isBest: boolean): void;
  note(sentence: string): void;
}

/** A step that was asked for and whose metrics have not been read. */
export interface Pending {
  readonly step: number;
  readonly images: number;
  readonly lr: number;
}

/** Whether steps.jsonl has a line for a step: at every log interval, at the end of an epoch (as timm) and of the run. */
export function isLogged(
  step: number,
  { logInterval }: Pick<Settings, 'logInterval'>,
  { batches, totalSteps }: Pick<RunFacts, 'batches' | 'totalSteps'>,
): boolean {
  return step % logInterval === 0 || step % batches === 0 || step === totalSteps;
}

export class Journal {
  private pending: Pending[] = [];
  private since = 0;
  private readonly failures = new SaveFailures();

  constructor(
    private readonly settings: Settings,
    private readonly run: RunDirectory,
    private readonly reporter: Reporter,
    private readonly training: TrainingStep,
    private readonly finite: FiniteCheck,
    private readonly lossScale: LossScale | null,
    private readonly facts: RunFacts,
  ) {}

  /** Starts the clock of the throughput that the next lines show. */
  resume(): void {
    this.since = performance.now();
  }

  add(entry: Pending): void {
    this.pending.push(entry);
  }

  /** Whether the metrics of the steps up to `step` are to be read: for a log line, or because no more are kept. */
  isDue(step: number): boolean {
    return step % this.settings.logInterval === 0 || this.pending.length >= this.training.unread;
  }

  /** Reads the metrics of what was added, which waits for their steps, and writes and reports them. */
  async write(progress: Progress): Promise<void> {
    const { settings, run, reporter, training, lossScale, facts, pending } = this;
    if (pending.length === 0) return;
    this.pending = [];
    const metrics = await training.read(pending.map(({ step, images }) => ({ step: step - 1, images })));
    const seconds = (performance.now() - this.since) / 1000;
    this.since = performance.now();
    const images = pending.reduce((n, entry) => n + entry.images, 0);
    const scaling = lossScale && (await lossScale.status());
    for (const [i, entry] of pending.entries()) {
      const { loss, correct, gradNorm } = metrics[i] as StepMetrics;
      const skipped = scaling !== null && !Number.isFinite(gradNorm);
      if (!skipped) await this.demandFinite(entry.step, metrics[i] as StepMetrics);
      if (!Number.isFinite(loss)) continue; // of a step that was skipped
      progress.lossSum += loss * entry.images;
      progress.correct += correct;
      progress.images += entry.images;
      const z = lossSpike(progress.losses, loss);
      if (z !== null)
        reporter.note(
          `Step ${entry.step}: the loss ${loss.toFixed(4)} is ${z.toFixed(1)} standard deviations above those before.`,
        );
      if (isLogged(entry.step, settings, facts))
        run.appendStep({
          step: entry.step,
          epoch: progress.epoch + 1,
          loss,
          lr: entry.lr,
          grad_norm: skipped ? null : gradNorm,
          images_per_second: images / seconds,
          ...(z === null ? {} : { loss_z: z }),
          ...(scaling && { loss_scale: scaling.scale, skipped_steps: scaling.skipped }),
        });
    }
    this.flushLogs();
    if (scaling) this.tellSkipped(progress.step, metrics, scaling);
    await this.demandFiniteState(progress.step);
    progress.seconds += seconds;
    reporter.step({
      step: progress.step,
      epoch: progress.epoch + 1,
      batch: progress.batch,
      batches: facts.batches,
      totalSteps: facts.totalSteps,
      loss: progress.images > 0 ? progress.lossSum / progress.images : null,
      accuracy: progress.images > 0 ? progress.correct / progress.images : null,
      lr: pending.at(-1)?.lr ?? 0,
      imagesPerSecond: images / seconds,
      gflops: (images * training.flopsPerImage) / seconds / 1e9,
    });
  }

  /** Lines that the disk refuses wait for the next ones; three times in a row end the run. */
  private flushLogs(): void {
    try {
      this.run.flushLogs();
      this.failures.succeeded();
    } catch (error) {
      this.reporter.note(this.failures.failed(error));
    }
  }

  /** Says how many steps overflowed since the last time; an end where lowering the scale does not help. */
  private tellSkipped(step: number, metrics: readonly StepMetrics[], status: LossScaleStatus): void {
    const { scale, skipped, streak } = status;
    if (streak >= MOST_SKIPPED || scale < LEAST_SCALE)
      throw new NonFiniteError(
        `Step ${step}: gradients overflow f16 at a loss scale of ${scale}, ${streak} steps in a row skipped. Train without --amp. ${REMEDY}`,
      );
    const now = metrics.filter(({ gradNorm }) => !Number.isFinite(gradNorm)).length;
    if (now > 0)
      this.reporter.note(
        `Step ${step}: ${now} of the last ${metrics.length} steps overflowed f16 and were skipped, ${skipped} so far; the loss scale is ${scale}.`,
      );
  }

  private async demandFinite(step: number, { loss, gradNorm, badGradient }: StepMetrics): Promise<void> {
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return;
    this.flushLogs(); // the steps before it
    const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    const state = await this.finite.run();
    const where = state ?? (badGradient ? `the gradient of ${badGradient}` : null);
    throw new NonFiniteError(
      `Step ${step}: the ${what}${where ? ` (first not finite: ${where})` : ''}. ${REMEDY}`,
    );
  }

  private async demandFiniteState(step: number): Promise<void> {
    const state = await this.finite.run();
    if (state) throw new NonFiniteError(`Step ${step}: ${state} is not finite. ${REMEDY}`);
  }
}

/** Skipped steps in a row, and a loss scale, at which a run of --amp ends. */
const MOST_SKIPPED = 20;
const LEAST_SCALE = 2 ** -14;

const REMEDY =
  'A lower --learning-rate, a longer warm-up or --clip-grad 1 may help; the last saved state is untouched.';
