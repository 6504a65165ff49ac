/** What a run says of its steps: counters that a continuation needs, log lines, reports for people. */
import { NonFiniteError } from '../core/errors.js';
import type { VisionTransformer } from '../models/vit.js';
import type { EpochEntry, RunDirectory } from './run_directory.js';
import type { Settings } from './settings.js';
import type { TrainingStep } from './step.js';

/** The weights as they are, or their moving average. */
export type WeightsKind = 'raw' | 'ema';

/** Everything a continuation must know that is not a tensor. */
export interface Progress {
  /** Steps done in all, and batches done of the epoch under way. */
  step: number;
  epoch: number;
  batch: number;
  /** Sums over the epoch under way. */
  lossSum: number;
  correct: number;
  images: number;
  seconds: number;
  best: { accuracy: number; epoch: number; weights: WeightsKind } | null;
  history: EpochEntry[];
}

export const freshProgress = (): Progress => ({
  step: 0,
  epoch: 0,
  batch: 0,
  lossSum: 0,
  correct: 0,
  images: 0,
  seconds: 0,
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
  /** Mean over the epoch so far. */
  readonly loss: number;
  readonly accuracy: number;
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

export class Journal {
  private pending: Pending[] = [];
  private since = 0;

  constructor(
    private readonly settings: Settings,
    private readonly run: RunDirectory,
    private readonly reporter: Reporter,
    private readonly training: TrainingStep,
    private readonly facts: RunFacts,
  ) {}

  /** Starts the clock of the throughput that the next lines show. */
  resume(): void {
    this.since = performance.now();
  }

  add(entry: Pending): void {
    this.pending.push(entry);
  }

  /** Reads the metrics of what was added, which waits for their steps, and writes and reports them. */
  async write(progress: Progress): Promise<void> {
    const { settings, run, reporter, training, facts, pending } = this;
    if (pending.length === 0) return;
    this.pending = [];
    const metrics = await training.read(pending.map(({ step }) => (step - 1) % settings.logInterval));
    const seconds = (performance.now() - this.since) / 1000;
    this.since = performance.now();
    const images = pending.reduce((n, entry) => n + entry.images, 0);
    pending.forEach((entry, i) => {
      const { loss, correct, gradNorm } = metrics[i]!;
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
      batches: facts.batches,
      totalSteps: facts.totalSteps,
      loss: progress.lossSum / progress.images,
      accuracy: progress.correct / progress.images,
      lr: pending.at(-1)?.lr ?? 0,
      imagesPerSecond: images / seconds,
      gflops: (images * training.flopsPerImage) / seconds / 1e9,
    });
  }
}
