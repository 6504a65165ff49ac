/** From settings to a run that is ready to train: its images, its plan, and its model in each phase. */
import type { Dataset } from '../data/dataset.js';
import type { Gpu } from '../gpu/gpu.js';
import { buildModel } from '../recipe/model.js';
import type { Settings } from '../recipe/settings.js';
import { type Owned, owned } from '../tensor/scope.js';
import { stepMemory } from './forecast.js';
import { initialiseFromImages } from './image_init.js';
import { loadSplits, placeImages, type RunImages } from './images.js';
import { Plan, type PlannedPhase } from './plan.js';
import { type Checked, type LoadWeights, makeChecked } from './trainable.js';
import { checkTransfers, transfer } from './transfer.js';

/** Everything that `fit` needs. `enter` replaces what the phases of a run change: the model, its optimizer and its step. */
export class Training implements Checked, RunImages {
  readonly records: RunImages['records'];
  readonly store: RunImages['store'];
  readonly sampler: RunImages['sampler'];
  readonly validation: RunImages['validation'];
  private current: Owned<Checked>;

  constructor(
    readonly gpu: Gpu,
    /** The settings of the run. */
    readonly settings: Settings,
    readonly dataset: Dataset,
    readonly plan: Plan,
    private readonly images: Owned<RunImages>,
    private readonly phases: readonly PlannedPhase[],
    /** The phase that it is in, from 0. */
    public phase: number,
    load?: LoadWeights,
  ) {
    ({
      records: this.records,
      store: this.store,
      sampler: this.sampler,
      validation: this.validation,
    } = images.made);
    this.current = this.make(phase, load);
  }

  get model() {
    return this.current.made.model;
  }
  get arena() {
    return this.current.made.arena;
  }
  get optimizer() {
    return this.current.made.optimizer;
  }
  get ema() {
    return this.current.made.ema;
  }
  get lossScale() {
    return this.current.made.lossScale;
  }
  get step() {
    return this.current.made.step;
  }
  get finite() {
    return this.current.made.finite;
  }

  /** The settings of the phase that it is in. */
  get phaseSettings(): Settings {
    return this.current.made.settings;
  }

  /** Goes on to a later phase with the weights, the average and the optimizer's moments of the one before it. */
  async enter(phase: number): Promise<void> {
    const before = this.current;
    const next = this.make(phase);
    try {
      await transfer(before.made, next.made);
    } catch (error) {
      next.release();
      throw error;
    }
    before.made.step.release();
    before.release();
    this.current = next;
    this.phase = phase;
  }

  /** Releases its device memory. */
  release(): void {
    this.step.release();
    this.current.release();
    this.images.release();
  }

  private make(phase: number, load?: LoadWeights): Owned<Checked> {
    const { settings } = this.phases[phase] as PlannedPhase;
    return owned(() => makeChecked(this.gpu, settings, this.dataset, this, load));
  }
}

/**
 * Builds the model, reads the data, and puts both on the device. Initial weights are drawn by the seed of the settings, and a
 * model may compute some of them from images. `load` is for weights that come from elsewhere: where it is given, nothing is
 * computed from images. `phase` is the phase to begin in. Throws a ConfigError if the settings do not fit the data set or
 * the adapter, and an OutOfMemoryError.
 */
export async function setup(
  gpu: Gpu,
  settings: Settings,
  dataset: Dataset,
  load?: LoadWeights,
  phase = 0,
): Promise<Training> {
  const { phases } = await stepMemory(gpu, settings, dataset);
  checkTransfers(phases.map((each) => buildModel(each.settings, dataset)));
  const splits = await loadSplits(dataset);
  const images = owned(() => placeImages(gpu, settings, dataset, splits));
  try {
    const { sampler, records } = images.made;
    const plan = new Plan(settings, sampler.batches, phases);
    const computed = initialiseFromImages({ dataset, split: splits.train, records }, settings);
    return new Training(
      gpu,
      settings,
      dataset,
      plan,
      images,
      phases,
      Math.min(phase, phases.length - 1),
      load ?? computed,
    );
  } catch (error) {
    images.release();
    throw error;
  }
}
