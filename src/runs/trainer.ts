/** A run in a run directory: sets it up, resumes it from a saved state, and trains it with `fit`. */
import type { Dataset } from '../data/dataset.js';
import type { Gpu } from '../gpu/gpu.js';
import type { TensorList } from '../io/safetensors_file.js';
import type { Model } from '../models/model.js';
import type { Settings } from '../recipe/settings.js';
import { type FitOptions, fit, type Outcome, snapshotOf } from '../training/fit.js';
import { freshProgress, type Progress } from '../training/progress.js';
import { setup, type Training } from '../training/setup.js';
import { stateParts } from '../training/state_format.js';
import type { LoadWeights } from '../training/trainable.js';
import { loadInit, loadParts, metadataField } from './checkpoint.js';
import { describeContinuation } from './continuation.js';
import { type Fingerprint, fingerprint } from './fingerprint.js';
import type { Reporter } from './reporter.js';
import type { RunDirectory } from './run_directory.js';
import { isSameFolder, runOf } from './run_paths.js';
import { type Environment, RunSink } from './run_sink.js';
import { findState, removeStaleTemporaries } from './state_files.js';

/** A new run, or with `resume` the continuation of one. */
export interface TrainerInput extends Pick<FitOptions, 'onStep' | 'evaluate'> {
  readonly gpu: Gpu;
  readonly settings: Settings;
  readonly dataset: Dataset;
  readonly run: RunDirectory;
  readonly reporter: Reporter;
  readonly environment: Environment;
  /** A safetensors file of initial weights. */
  readonly init?: string | undefined;
  /** A run directory or a state file to continue. */
  readonly resume?: string | undefined;
}

/** Trains a model into a run directory. `prepare` makes one; `run` trains it. */
export class Trainer {
  /** Set it to true to save the state and end after the current step or evaluation batch. */
  stopRequested = false;
  readonly model: Model;
  readonly totalSteps: number;
  /** Steps per epoch. */
  readonly batches: number;
  /** Name of the images that choose the best checkpoint: `test`, or `validation` if images are held out. */
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
    const { batches, totalSteps } = training.plan;
    this.model = training.model;
    this.judge = training.validation.name;
    this.batches = batches;
    this.totalSteps = totalSteps;
  }

  /**
   * Reads the data, builds the model on the device, and loads the weights of `init` or the newest undamaged state of
   * `resume`. Throws a ConfigError for settings or images that do not fit, and a FormatError for a damaged file.
   */
  static async prepare(input: TrainerInput): Promise<Trainer> {
    const { gpu, settings, dataset } = input;
    const saved = input.resume ? openState(input, input.resume) : null;
    const training = await setup(gpu, settings, dataset, weightsFrom(input), saved?.progress.phase);
    const data = fingerprint(dataset, await dataset.load('train'));
    const start = saved ? restore(input, saved, training, data) : { progress: freshProgress(), origin: null };
    return new Trainer(input, training, data, start);
  }

  /** True if this trainer has written a state, which is then the newest of the run. */
  get hasSaved(): boolean {
    return this.sink.hasSaved;
  }

  /** Releases its device memory, also after a run that failed. */
  release(): void {
    this.training.release();
  }

  /** Trains to the end of the run, or until `stopRequested`. Throws as `fit`, and a PatchlightError if saves keep failing. */
  run(): Promise<Outcome> {
    const { training, sink, progress } = this;
    const { onStep, evaluate } = this.input;
    return fit(training, sink, { progress, onStep, evaluate, stopped: () => this.stopRequested });
  }
}

/** How a run's weights are loaded: from `init`, or later with the whole state of `resume`; undefined for a new run. */
function weightsFrom({ init, resume, reporter }: TrainerInput): LoadWeights | undefined {
  if (init)
    return (arena, model) => {
      const note = loadInit(init, arena, model);
      if (note) reporter.note(note);
    };
  return resume ? () => {} : undefined;
}

interface Start {
  readonly progress: Progress;
  /** The run directory of the state, if it is another one than the run's own; otherwise null. */
  readonly origin: string | null;
}

/** A state file with the progress of its run. */
interface Saved {
  readonly path: string;
  readonly file: TensorList;
  readonly progress: Progress;
}

/** Finds the newest undamaged state of `from`. */
function openState({ run, reporter }: TrainerInput, from: string): Saved {
  removeStaleTemporaries(run.path);
  const { path, file, damaged } = findState(from);
  for (const sentence of damaged) reporter.note(`${sentence} The state before it is used instead.`);
  return { path, file, progress: metadataField<Progress>(path, file, 'progress') };
}

/** Loads a state onto the device. */
function restore(input: TrainerInput, saved: Saved, training: Training, data: Fingerprint): Start {
  const { run, reporter, settings, environment } = input;
  const { path, file } = saved;
  // States of 0.1.0 count no FLOPs and have one phase.
  const { flops = training.plan.flopsAt(saved.progress.step), phase = 0 } = saved.progress;
  const progress = { ...saved.progress, flops, phase };
  const found = runOf(path);
  loadParts(path, stateParts(snapshotOf(training, progress).state));
  training.lossScale?.restore(metadataField<number[]>(path, file, 'loss_scale'));
  for (const note of describeContinuation(path, file, { settings, environment, data })) reporter.note(note);
  reporter.note(`Continuing from ${path}: ${progress.step} steps done.`);
  return { progress, origin: found && !isSameFolder(found, run.path) ? found : null };
}
