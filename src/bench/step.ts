/** Whole training steps of a model on random bytes: as the trainer runs them, at most two in flight. */
import type { Dataset, Split } from '../data/dataset.js';
import { uploadSplit } from '../data/store.js';
import type { PipelineTime } from '../gpu/diagnostics.js';
import type { Gpu } from '../gpu/gpu.js';
import type { Model } from '../models/model.js';
import { trainingInput } from '../recipe/augmentation.js';
import { buildModel } from '../recipe/model.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { makeTrainable, type Trainable } from '../training/trainable.js';
import { median } from './measure.js';

export interface StepRow {
  readonly op: 'step';
  readonly model: string;
  readonly batch_size: number;
  /** Median of a step in the steady state. */
  readonly ms: number;
  readonly images_per_second: number;
  /** Matrix products and attention: forward once, backward twice that. */
  readonly gflops: number;
  readonly dispatches: number;
  /** One, but for steps of half a second or more: `src/gpu/submits.ts`. */
  readonly submits: number;
  /** Milliseconds after which `step()` returns to the host; the median. */
  readonly encode_ms: number;
  /** Held between two steps: weights, moments, images. */
  readonly live_mb: number;
  /** The most buffer memory at one time: the above and the buffers of a step. */
  readonly peak_mb: number;
  /** The most memory of the device at one time: buffers, and textures that hold copies of operands. */
  readonly device_mb: number;
  /** The first step of the process: kernels are compiled, or come from the driver's cache. */
  readonly first_ms: number;
  /** Made in a step of the steady state: none. */
  readonly created_buffers: number;
  readonly created_bind_groups: number;
  /** Every pipeline that the step needed. Their times are a part of `first_ms`. */
  readonly pipelines: readonly PipelineTime[];
}

const RECORDS = 256;
const CLASSES = 10;
const WARM_UP = 2; // steps after the first

/** Images of random bytes. */
function randomDataset(imageSize: number): { dataset: Dataset; split: Split } {
  const images = new Uint8Array(RECORDS * 3 * imageSize * imageSize);
  let word = 1;
  for (let i = 0; i < images.length; i++) {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    images[i] = word >>> 24;
  }
  const labels = Uint8Array.from({ length: RECORDS }, (_, i) => i % CLASSES);
  const split = { images, labels, count: RECORDS };
  const dataset = {
    name: 'random',
    classes: Array.from({ length: CLASSES }, (_, i) => `${i}`),
    channels: 3,
    height: imageSize,
    width: imageSize,
    mean: [0.5, 0.5, 0.5],
    std: [0.25, 0.25, 0.25],
    load: async () => split,
  };
  return { dataset, split };
}

/** A model ready to train. `step()` asks for one step and returns before it has run. */
export class StepBench {
  readonly model: Model;
  readonly settings: Settings;
  private readonly built: Trainable;
  private readonly records: Uint32Array<ArrayBuffer>;
  private steps = 0;

  constructor(
    private readonly gpu: Gpu,
    private readonly chosen: Partial<Settings>,
    private readonly imageSize = 32,
  ) {
    const settings = resolveSettings(chosen);
    const { dataset, split } = randomDataset(imageSize);
    const model = buildModel(settings, dataset);
    const { batchSize } = settings;
    const store = uploadSplit(gpu, dataset, split, settings.normalize);
    const images = trainingInput(settings, dataset, store, Math.ceil(RECORDS / batchSize));
    this.built = makeTrainable(gpu, model, settings, images);
    this.records = Uint32Array.from({ length: batchSize }, (_, i) => i % RECORDS);
    this.settings = settings;
    this.model = model;
  }

  step(): void {
    const lr = this.settings.learningRate;
    const step = this.steps++;
    const { step: training, optimizer, ema } = this.built;
    const corrections = optimizer.corrections(lr, step + 1);
    const emaDecay = ema?.decayAt(step + 1) ?? 0;
    training.run(this.records, { seed: 1, step, lr, ...corrections, emaDecay });
  }

  /** Compiles the kernels side by side, as the trainer does. */
  private async prepare(): Promise<void> {
    if (this.gpu.info.software) return;
    const dry = this.gpu.dryRun(Number.POSITIVE_INFINITY);
    new StepBench(dry, this.chosen, this.imageSize).step();
    await this.gpu.prepare(dry.kernels);
  }

  /** Times the first step, then `steps` of the steady state. */
  async measure(steps: number): Promise<StepRow> {
    const { gpu } = this;
    const start = performance.now();
    await this.prepare();
    this.step();
    await gpu.finish();
    const first_ms = performance.now() - start;
    for (let i = 0; i < WARM_UP; i++) this.step();
    await gpu.finish();

    const before = this.counts();
    const encode: number[] = [];
    const ends = [performance.now()];
    const flight: Promise<unknown>[] = [];
    const land = async () => {
      await gpu.settle(flight.shift() as Promise<unknown>);
      ends.push(performance.now());
    };
    for (let i = 0; i < steps; i++) {
      const began = performance.now();
      this.step();
      encode.push(performance.now() - began);
      flight.push(gpu.submitted());
      if (flight.length > 2) await land();
    }
    while (flight.length > 0) await land();
    const after = this.counts();

    const ms = median(ends.slice(1).map((end, i) => end - (ends[i] as number)));
    const batch_size = this.records.length;
    const perStep = (name: keyof typeof before) => (after[name] - before[name]) / steps;
    return {
      op: 'step',
      model: this.model.label,
      batch_size,
      ms,
      images_per_second: (1000 * batch_size) / ms,
      gflops: perStep('flops') / ms / 1e6,
      dispatches: perStep('dispatches'),
      submits: perStep('submits'),
      encode_ms: median(encode),
      live_mb: gpu.pool.liveBytes / 1e6,
      peak_mb: gpu.pool.peakBytes / 1e6,
      device_mb: gpu.memory.peakBytes / 1e6,
      first_ms,
      created_buffers: perStep('buffers'),
      created_bind_groups: perStep('bindGroups'),
      pipelines: gpu.diagnostics.pipelines,
    };
  }

  private counts() {
    return { ...this.gpu.diagnostics.counts, buffers: this.gpu.pool.created, flops: this.gpu.flops };
  }
}
