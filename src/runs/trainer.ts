/** A run in a directory: set up, continued where there is something to continue, and trained by `fit`. */
import type { Dataset } from '../data/dataset.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import type { Schedule } from '../optim/schedule.js';
import type { Settings } from '../recipe/settings.js';
import { type FitOptions, fit, type Outcome, planOf, snapshotOf } from '../training/fit.js';
import { freshProgress, type Progress } from '../training/progress.js';
import { setup, type Training } from '../training/setup.js';
import { loadInit, loadParts, metadataField, stateParts } from './checkpoint.js';
import { describeContinuation } from './continuation.js';
import { type Fingerprint, fingerprint } from './fingerprint.js';
import type { Reporter } from './reporter.js';
import type { RunDirectory } from './run_directory.js';
import { isSameFolder, runOf } from './run_paths.js';
import { type Environment, RunSink } from './run_sink.js';
import { findState, removeStaleTemporaries } from './state_files.js';

export interface TrainerInput extends Pick<FitOptions, 'onStep' | 'evaluate'> {
  readonly gpu: Gpu;
  readonly settings: Settings;
  readonly dataset: Dataset;
  readonly run: RunDirectory;
  readonly reporter: Reporter;
  readonly environment: Environment;
  /** A safetensors file of weights to start from. */
  readonly init?: string | undefined;
  /** A run directory or a state file to continue. */
  readonly resume?: string | undefined;
}

export class Trainer {
  stopRequested = false;
  readonly model: Model;
  readonly schedule: Schedule;
  readonly totalSteps: number;
  /** Steps an epoch. */
  readonly batches: number;
  /** The images that choose the best checkpoint: `test`, or `validation` when images are held out for it. */
  readonly judge: string;
  private readonly sink: RunSink;
  private readonly progress: Progress;

  private constructor(
    private readonly input: TrainerInput,
    readonly training: Training,
    data: Fingerprint,
    { progress, origin }: Start,
  ) {
    const { run, reporter, environment } = input;
    this.progress = progress;
    this.sink = new RunSink({ run, reporter, training, environment, fingerprint: data, origin });
    const { schedule, batches, totalSteps } = planOf(training);
    this.model = training.model;
    this.judge = training.validation.name;
    this.schedule = schedule;
    this.batches = batches;
    this.totalSteps = totalSteps;
  }

  /** Sets everything up, and loads the state that is to be continued where there is one. */
  static async prepare(input: TrainerInput): Promise<Trainer> {
    const { gpu, settings, dataset, init, reporter } = input;
    const training = await setup(gpu, settings, dataset, (arena, model) => {
      const note = init && loadInit(init, arena, model);
      if (note) reporter.note(note);
    });
    const data = fingerprint(dataset, await dataset.load('train'));
    const start = input.resume
      ? restore(input, input.resume, training, data)
      : { progress: freshProgress(), origin: null };
    return new Trainer(input, training, data, start);
  }

  /** Whether this trainer has written a state: from then on the run's newest state is its own. */
  get hasSaved(): boolean {
    return this.sink.hasSaved;
  }

  /** Gives its memory on the device back: after a run, or after one that failed for want of memory. */
  release(): void {
    this.training.release();
  }

  run(): Promise<Outcome> {
    const { training, sink, progress } = this;
    const { onStep, evaluate } = this.input;
    return fit(training, sink, { progress, onStep, evaluate, stopped: () => this.stopRequested });
  }
}

interface Start {
  readonly progress: Progress;
  /** The run directory that is continued in another one; null where there is none. */
  readonly origin: string | null;
}

/** Loads the newest whole state of `from` onto the device. */
function restore(input: TrainerInput, from: string, training: Training, data: Fingerprint): Start {
  const { run, reporter, settings, environment } = input;
  removeStaleTemporaries(run.path);
  const { path, file, damaged } = findState(from);
  for (const sentence of damaged) reporter.note(`${sentence} The state before it is used.`);
  const progress = metadataField<Progress>(path, file, 'progress');
  const found = runOf(path);
  loadParts(path, stateParts(snapshotOf(training, progress).state));
  training.lossScale?.restore(metadataField<number[]>(path, file, 'loss_scale'));
  for (const note of describeContinuation(path, file, { settings, environment, data })) reporter.note(note);
  reporter.note(`Continuing from ${path}: ${progress.step} steps done.`);
  return { progress, origin: found && !isSameFolder(found, run.path) ? found : null };
}
