/** Reads the metrics of steps, checks that they are finite, counts them, and passes log entries to the sink. */
import { NonFiniteError } from '../core/errors.js';
import type { LossScaleStatus } from '../optim/loss_scale.js';
import { lossSpike } from './health.js';
import type { StepMetrics } from './metrics.js';
import { isLogged, type Progress, type RunLength } from './progress.js';
import type { Training } from './setup.js';
import type { Sink } from './sink.js';

/** A submitted step whose metrics are not yet read. */
export interface Pending {
  /** Counted from 1. */
  readonly step: number;
  readonly images: number;
  readonly lr: number;
  /** Floating-point operations of this step and of all before it. */
  readonly flops: number;
}

export class StepLog {
  private pending: Pending[] = [];
  private since = 0;
  private flopsBefore = 0;

  constructor(
    private readonly training: Pick<Training, 'settings' | 'step' | 'finite' | 'lossScale'>,
    private readonly sink: Sink,
    private readonly length: RunLength,
  ) {}

  /** Starts the clock for the throughput of the next steps. */
  resume({ flops }: Progress): void {
    this.since = performance.now();
    this.flopsBefore = flops;
  }

  add(entry: Pending): void {
    this.pending.push(entry);
  }

  /** True if metrics must be read after `step`, for a log entry or because the ring buffer is full. */
  isDue(step: number): boolean {
    const { settings, step: training } = this.training;
    return step % settings.logInterval === 0 || this.pending.length >= training.metrics.unread;
  }

  /** Waits for the added steps and reads their metrics. Throws a NonFiniteError for NaN or infinity. */
  async write(progress: Progress): Promise<void> {
    const { pending, sink, length } = this;
    const { step: training, lossScale } = this.training;
    if (pending.length === 0) return;
    this.pending = [];
    const metrics = await training.read(pending.map(({ step, images }) => ({ step: step - 1, images })));
    const seconds = (performance.now() - this.since) / 1000;
    this.since = performance.now();
    const images = pending.reduce((n, entry) => n + entry.images, 0);
    const flops = progress.flops - this.flopsBefore;
    this.flopsBefore = progress.flops;
    const scaling = lossScale && (await lossScale.status());
    for (const [i, entry] of pending.entries())
      await this.count(entry, metrics[i] as StepMetrics, { progress, scaling, pace: images / seconds });
    sink.flush?.();
    if (scaling) this.noteSkipped(progress.step, metrics, scaling);
    await this.demandFiniteState(progress.step);
    progress.seconds += seconds;
    sink.step?.({
      ...length,
      step: progress.step,
      epoch: progress.epoch + 1,
      batch: progress.batch,
      loss: progress.images > 0 ? progress.lossSum / progress.images : null,
      accuracy: progress.images > 0 ? progress.correct / progress.images : null,
      lr: pending.at(-1)?.lr ?? 0,
      imagesPerSecond: images / seconds,
      gflops: flops / seconds / 1e9,
    });
  }

  /** Adds a step to the counters of the epoch, and logs it at the log interval. */
  private async count(
    entry: Pending,
    metrics: StepMetrics,
    { progress, scaling, pace }: { progress: Progress; scaling: LossScaleStatus | null; pace: number },
  ): Promise<void> {
    const { loss, correct, gradNorm } = metrics;
    const skipped = scaling !== null && !Number.isFinite(gradNorm);
    if (!skipped) await this.demandFinite(entry.step, metrics);
    if (!Number.isFinite(loss)) return; // a skipped step
    progress.lossSum += loss * entry.images;
    progress.correct += correct;
    progress.images += entry.images;
    const z = lossSpike(progress.losses, loss);
    if (z !== null)
      this.sink.note?.(
        `Step ${entry.step}: the loss ${loss.toFixed(4)} is ${z.toFixed(1)} standard deviations above the mean of the losses before.`,
      );
    if (isLogged(entry.step, this.training.settings.logInterval, this.length))
      this.sink.log?.({
        step: entry.step,
        epoch: progress.epoch + 1,
        loss,
        lr: entry.lr,
        grad_norm: skipped ? null : gradNorm,
        images_per_second: pace,
        flops: entry.flops,
        ...(z === null ? {} : { loss_z: z }),
        ...(scaling && { loss_scale: scaling.scale, skipped_steps: scaling.skipped }),
      });
  }

  /** Notes how many of the read steps overflowed. Throws a NonFiniteError if lowering the loss scale does not help. */
  private noteSkipped(step: number, metrics: readonly StepMetrics[], status: LossScaleStatus): void {
    const { scale, skipped, streak } = status;
    if (streak >= MOST_SKIPPED || scale < LEAST_SCALE)
      throw new NonFiniteError(
        `Step ${step}: gradients overflow f16 at a loss scale of ${scale}, ${streak} steps in a row skipped. Train without --amp. ${REMEDY}`,
      );
    const now = metrics.filter(({ gradNorm }) => !Number.isFinite(gradNorm)).length;
    if (now > 0)
      this.sink.note?.(
        `Step ${step}: ${now} of the last ${metrics.length} steps overflowed f16 and were skipped, ${skipped} so far; the loss scale is ${scale}.`,
      );
  }

  private async demandFinite(step: number, { loss, gradNorm, badGradient }: StepMetrics): Promise<void> {
    if (Number.isFinite(loss) && Number.isFinite(gradNorm)) return;
    this.sink.flush?.(); // the steps before it are logged
    const what = Number.isFinite(loss) ? `gradient norm is ${gradNorm}` : `loss is ${loss}`;
    const state = await this.training.finite.run();
    const where = state ?? (badGradient ? `the gradient of ${badGradient}` : null);
    throw new NonFiniteError(
      `Step ${step}: the ${what}${where ? ` (first not finite: ${where})` : ''}. ${REMEDY}`,
    );
  }

  private async demandFiniteState(step: number): Promise<void> {
    const state = await this.training.finite.run();
    if (state) throw new NonFiniteError(`Step ${step}: ${state} is not finite. ${REMEDY}`);
  }
}

/** A run with --amp ends after this many skipped steps in a row, or below this loss scale. */
const MOST_SKIPPED = 20;
const LEAST_SCALE = 2 ** -14;

const REMEDY =
  'A lower --learning-rate, a longer warm-up or --clip-grad 1 may help; the last saved state is untouched.';
