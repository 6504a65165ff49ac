/** A run in the worker: set up, trained, saved and continued. What is looked at meanwhile is in watch.ts. */
import type { Dataset } from '../data/dataset.js';
import type { Gpu } from '../gpu/gpu.js';
import type { VisionTransformer } from '../models/vit.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { evaluate } from '../training/evaluate.js';
import { fit, snapshotOf } from '../training/fit.js';
import { freshProgress, type Progress } from '../training/progress.js';
import { setup, type Training } from '../training/setup.js';
import type { Sink, Snapshot } from '../training/sink.js';
import { encodeState, encodeWeights, restoreState } from '../training/state.js';
import { runMetadata } from '../training/state_format.js';
import { settingsOf } from './choices.js';
import type { Choices, Curves, Point, Reply, SavedRun, Scored, Started } from './messages.js';
import type { Kept, SavedStates } from './saved.js';
import { stripOf, Watch } from './watch.js';

declare const __VERSION__: string;

/** Seconds between two saves: at least these, and so many that saving takes a twentieth of the time. */
const SAVE_SECONDS = 5;
const SAVE_SHARE = 20;
/** Steps after the first one until a step is profiled: the kernels are compiled by then. */
const PROFILED = 2;
/** Images of an evaluation under `auto`. */
const BRIEF = 500;

// A GPU would wait for each loss that is read; on a CPU, reading costs nothing.
export const settingsFor = (choices: Choices, { software }: Gpu['info']): Settings =>
  resolveSettings({ ...settingsOf(choices), logInterval: software ? 1 : 5 });

/** A kept run's own description, in its metadata. */
interface Page {
  readonly run: SavedRun;
  readonly rate: number;
}

/** The description of a kept run; null if another version of the page kept it. */
export function savedRun(kept: Kept | null): SavedRun | null {
  if (!kept || kept.metadata.version !== __VERSION__) return null;
  return { ...(JSON.parse(kept.metadata.page!) as Page).run, step: kept.step };
}

export interface SessionInput {
  readonly gpu: Gpu;
  readonly choices: Choices;
  readonly dataset: Dataset;
  readonly states: SavedStates;
  /** True if an evaluation takes 500 images at most. */
  readonly brief: boolean;
  /** The kept state to continue. */
  readonly kept: Kept | null;
  readonly post: (reply: Reply) => void;
}

export class Session {
  readonly watch: Watch;
  /** A factor of the scheduled learning rate. */
  rate = 1;
  /** Set it to save after the current step. */
  saveSoon = false;
  private stopping = false;
  private readonly points: Point[] = [];
  private readonly scores: Scored[] = [];
  /** Points that the page has not got yet. */
  private fresh: Point[] = [];
  private lastSave = performance.now();
  private saveCost = 0;
  private canSave = true;

  private constructor(
    private readonly input: SessionInput,
    private readonly training: Training,
    private readonly progress: Progress,
  ) {
    this.watch = new Watch(input.gpu, training, input.post);
    if (!input.kept) return;
    const { run, rate } = JSON.parse(input.kept.metadata.page!) as Page;
    this.rate = rate;
    this.points.push(...run.points);
    this.scores.push(...run.scores);
  }

  /** Puts the model and the images on the device, and loads the kept state if there is one. */
  static async prepare(input: SessionInput): Promise<Session> {
    const { gpu, choices, dataset, kept } = input;
    const settings = settingsFor(choices, gpu.info);
    const training = await setup(gpu, settings, dataset, kept ? () => {} : undefined);
    const progress = kept ? restoreState(training, kept.bytes) : freshProgress();
    return new Session(input, training, progress);
  }

  /** Trains to the end, or until `pause`. */
  async run(): Promise<void> {
    const { training, progress, input, watch } = this;
    input.post({ kind: 'started', run: this.description() });
    const began = performance.now();
    const first = progress.step + 1;
    const { reason } = await fit(training, this.sink(), {
      progress,
      stopped: () => this.stopping,
      saveDue: () => this.saveDue(),
      learningRate: (scheduled) => scheduled * this.rate,
      onStep: (step) => {
        if (step === first) void this.reportCompiled(began);
        if (step === first + PROFILED) watch.profileNext();
        watch.afterStep(step);
      },
      evaluate: (task) =>
        evaluate({ ...task, records: task.records.subarray(0, input.brief ? BRIEF : undefined) }),
    });
    await watch.finish(progress.step);
    input.post({ kind: 'ended', finished: reason !== 'stopped' });
  }

  /** Asks the run to save its state and to end after the current step. */
  pause(): void {
    this.stopping = true;
  }

  /** The weights as a file that `evaluate.js`, `predict.js` and timm read. */
  async weights(): Promise<Uint8Array> {
    const { training, progress } = this;
    return encodeWeights(snapshotOf(training, progress), runMetadata(training, this.environment(), progress));
  }

  /** Releases the device memory, after `run` has ended. */
  async release(): Promise<void> {
    await this.watch.release();
    this.training.release();
  }

  private environment() {
    const { info } = this.input.gpu;
    return {
      version: __VERSION__,
      adapter: info.name,
      driver: info.driver,
      seed: this.training.settings.seed,
    };
  }

  private sink(): Sink {
    const { post } = this.input;
    return {
      log: ({ step, loss, lr }) => {
        this.fresh.push({ step, loss, lr, accuracy: null });
      },
      step: ({ step, epoch, accuracy, imagesPerSecond, gflops }) => {
        const points = this.fresh.map((point) => ({ ...point, accuracy }));
        this.fresh = [];
        this.points.push(...points);
        post({ kind: 'steps', points, pace: { step, epoch, accuracy, imagesPerSecond, gflops } });
      },
      note: (sentence) => post({ kind: 'note', sentence }),
      epoch: ({ entry, step }) => {
        if (entry.val_accuracy === null || entry.val_loss === null) return;
        const { validation } = this.training;
        const images = Math.min(
          validation.records.length,
          this.input.brief ? BRIEF : Number.POSITIVE_INFINITY,
        );
        const scored = { step, accuracy: entry.val_accuracy, loss: entry.val_loss, images };
        this.scores.push(scored);
        post({ kind: 'scored', scored });
      },
      state: (snapshot) => this.save(snapshot),
    };
  }

  private saveDue(): boolean {
    const seconds = (performance.now() - this.lastSave) / 1000;
    return this.canSave && (this.saveSoon || seconds > Math.max(SAVE_SECONDS, SAVE_SHARE * this.saveCost));
  }

  /** Keeps the state in the browser. A browser that keeps no files is noted once, and the run goes on. */
  private async save(snapshot: Snapshot): Promise<void> {
    if (!this.canSave) return;
    const { input, training } = this;
    const began = performance.now();
    const { choices, states, post } = input;
    const { step } = this.progress;
    const run = { choices, ...this.curves(), step, totalSteps: training.plan.totalSteps };
    const page: Page = { run, rate: this.rate };
    try {
      await states.write(await encodeState(snapshot, { version: __VERSION__, page }));
      post({ kind: 'saved', step });
    } catch (error) {
      this.canSave = false;
      post({
        kind: 'note',
        sentence: `This browser keeps no files for the page (${(error as Error).message}). A reload will start anew.`,
      });
    }
    this.saveSoon = false;
    this.lastSave = performance.now();
    this.saveCost = (this.lastSave - began) / 1000;
  }

  private curves(): Curves {
    return { points: this.points, scores: this.scores };
  }

  private async reportCompiled(began: number): Promise<void> {
    const { gpu, post } = this.input;
    await gpu.finish();
    post({ kind: 'compiled', kernels: gpu.kernels.length, seconds: (performance.now() - began) / 1000 });
  }

  private description(): Started {
    const { choices, dataset } = this.input;
    const { training, progress } = this;
    const { grid, prefix, hidden, heads } = (training.model as VisionTransformer).config;
    return {
      ...{ choices, grid, prefix, hidden, heads },
      classes: dataset.classes,
      strip: stripOf(training),
      parameters: training.model.numParams(),
      megaflopsAnImage: training.model.flops() / 1e6,
      totalSteps: training.plan.totalSteps,
      batches: training.plan.batches,
      from: progress.step,
      curves: this.curves(),
    };
  }
}
