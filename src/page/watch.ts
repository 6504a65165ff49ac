/**
 * The model in training, looked at between its steps: predictions of twelve test images and of the visitor's own, attention, filters,
 * the profile of a step. Looking changes nothing of the run, and takes a small share of its time.
 */
import type { Split } from '../data/dataset.js';
import { releaseStore, uploadSplit } from '../data/store.js';
import type { Gpu } from '../gpu/gpu.js';
import { learned, look } from '../inspect/look.js';
import type { VisionTransformer } from '../models/vit.js';
import type { ImageStore } from '../ops/batch.js';
import { predict } from '../training/evaluate.js';
import { probabilities } from '../training/score.js';
import type { Training } from '../training/setup.js';
import type { Chosen, Reply, StripImage } from './messages.js';

/** Images of the strip. */
const STRIP = 12;
/** Milliseconds between two looks: at least these, and so many that looking takes a fifteenth of the time. */
const LOOK_MS = 300;
const LOOK_SHARE = 15;
/** Filters and positions change slowly: they are read with every so many looks. */
const LEARNED_EVERY = 5;

/** The records of the strip: the first test image of each class in turn, then the second ones, up to twelve. */
function stripRecords({ validation: { records, split }, dataset }: Training): number[] {
  const seen = new Map<number, number>();
  const ranked = Array.from(records, (record) => {
    const label = split.labels[record] as number;
    const place = seen.get(label) ?? 0;
    seen.set(label, place + 1);
    return { record, order: place * dataset.classes.length + label };
  });
  return ranked
    .sort((a, b) => a.order - b.order)
    .slice(0, STRIP)
    .map(({ record }) => record);
}

const imageOf = ({ images, count }: Split, record: number): Uint8Array => {
  const size = images.length / count;
  return images.slice(record * size, (record + 1) * size);
};

/** The strip's images and classes. */
export const stripOf = (training: Training): StripImage[] =>
  stripRecords(training).map((record) => {
    const { split } = training.validation;
    return { pixels: imageOf(split, record), label: split.labels[record] as number };
  });

export class Watch {
  private readonly records: readonly number[];
  private chosen: Chosen = 0;
  private own: ImageStore | null = null;
  /** The look that is under way. */
  private looking: Promise<void> | null = null;
  private lookCost = 0;
  private lastLook = Number.NEGATIVE_INFINITY;
  private looks = 0;
  private step = 0;
  private profiling: 'no' | 'wanted' | 'on' = 'no';

  constructor(
    private readonly gpu: Gpu,
    private readonly training: Training,
    private readonly post: (reply: Reply) => void,
  ) {
    this.records = stripRecords(training);
  }

  /** Called after each step was submitted. */
  afterStep(step: number): void {
    this.step = step;
    this.profile();
    if (this.profiling !== 'no') return; // the profile must hold the step alone
    const due = Math.max(LOOK_MS, LOOK_SHARE * this.lookCost);
    if (!this.looking && performance.now() - this.lastLook > due) this.look();
  }

  /** Chooses the image to look into, and looks at once. */
  choose(chosen: Chosen): void {
    this.chosen = chosen;
    this.lastLook = Number.NEGATIVE_INFINITY;
    if (!this.looking) this.look();
  }

  /** Takes the visitor's own image (3, H, W), and looks into it. */
  async show(pixels: Uint8Array): Promise<void> {
    await this.looking;
    if (this.own) releaseStore(this.own);
    const { dataset, settings } = this.training;
    const split = { images: pixels, labels: new Uint8Array(1), count: 1 };
    this.own = uploadSplit(this.gpu, dataset, split, settings.normalize);
    this.choose('own');
  }

  /** Profiles the next step, if the browser gives timestamps. */
  profileNext(): void {
    if (this.gpu.profiler) this.profiling = 'wanted';
  }

  /** Looks once more, at the last weights. */
  async finish(step: number): Promise<void> {
    this.step = step;
    await this.looking;
    this.looks = 0; // with filters and positions
    this.look();
    await this.looking;
  }

  async release(): Promise<void> {
    await this.looking;
    if (this.own) releaseStore(this.own);
    this.own = null;
  }

  private look(): void {
    const began = performance.now();
    this.looking = this.lookNow(this.step)
      .catch((error: unknown) => {
        // A lost device, or a loss that is not finite, ends the run, which says so.
        void error;
      })
      .finally(() => {
        this.lastLook = performance.now();
        this.lookCost = this.lastLook - began;
        this.looking = null;
      });
  }

  private async lookNow(step: number): Promise<void> {
    const { training, post, records, chosen, own } = this;
    const { validation, dataset } = training;
    const model = training.model as VisionTransformer;
    const { classes } = dataset;
    const task = { model, store: validation.store, classes, batchSize: STRIP };
    const logits = await predict({ ...task, records: Uint32Array.from(records) });
    const row = (i: number) =>
      Float64Array.from(logits.subarray(i * classes.length, (i + 1) * classes.length));
    post({ kind: 'strip', step, probabilities: records.map((_, i) => probabilities(row(i))) });
    const [store, record] =
      chosen === 'own' && own ? [own, 0] : [validation.store, records[chosen === 'own' ? 0 : chosen] ?? 0];
    const [seen] = await look(model, store, [record]);
    if (seen) post({ kind: 'look', step, chosen, look: seen });
    if (this.looks++ % LEARNED_EVERY === 0) post({ kind: 'learned', step, learned: await learned(model) });
  }

  /** Times the kernels of one step: enabled after the step before it, read after it. */
  private profile(): void {
    const { profiler } = this.gpu;
    if (!profiler) return;
    if (this.profiling === 'wanted' && !this.looking) {
      profiler.reset();
      profiler.enabled = true;
      this.profiling = 'on';
    } else if (this.profiling === 'on') {
      profiler.enabled = false;
      this.profiling = 'no';
      const { step } = this;
      void profiler.collect().then(() => {
        const variants = Object.fromEntries(
          [...this.gpu.diagnostics.picked].map(([family, { kernel }]) => [family, kernel]),
        );
        this.post({ kind: 'profile', profile: { step, times: profiler.byOp(), variants } });
      });
    }
  }
}
