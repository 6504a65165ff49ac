/** The batch that a training step reads: drawn on the host as data, made on the device by commands that can be recorded. */
import { stream } from '../core/rng.js';
import type { Gpu } from '../gpu/gpu.js';
import { augmentBatch, encodePlans, FRAME_WORDS, mixImages, mixTargets } from '../ops/augment.js';
import { gatherBatch, type ImageStore } from '../ops/batch.js';
import { IMAGE_OP_WORDS } from '../ops/image_ops.js';
import type { Mix } from '../ops/step_state.js';
import { keep, scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { type AugmentationOptions, isPlain, PADDING, planImage, slotsOf } from './augmentation.js';
import { drawMix, type MixingOptions, mixes } from './mixing.js';

/** The images of a run and what training does to them. */
export interface TrainingInput {
  readonly store: ImageStore;
  /** Of an image: channels, height, width. */
  readonly shape: readonly [number, number, number];
  readonly classes: number;
  readonly augmentation: AugmentationOptions;
  readonly mixing: MixingOptions;
}

export class TrainingBatch {
  /** (B, C, H, W), normalised. */
  readonly images: Tensor;
  /**
   * (B): what an image counts as right against. Where images are mixed, it is the label of the larger share, so that
   * the accuracy of training still says how often the model names what there is most of.
   */
  readonly labels: Tensor;
  /** What the loss asks for: the labels, or (B, K) shares of classes where images may be mixed. */
  readonly targets: Tensor;
  private readonly index: Tensor;
  private readonly own: Tensor;
  private readonly frames: Tensor;
  private readonly program: Tensor;
  private readonly plain: boolean;
  private readonly mixed: boolean;

  constructor(
    gpu: Gpu,
    readonly size: number,
    private readonly input: TrainingInput,
  ) {
    const { shape, classes, augmentation, mixing } = input;
    const zeros = (of: readonly number[], dtype: 'u32' | 'f32', label: string) =>
      keep(Tensor.zeros(gpu, of, dtype, label));
    this.plain = isPlain(augmentation);
    this.mixed = mixes(mixing);
    this.index = zeros([size], 'u32', 'index');
    this.images = zeros([size, ...shape], 'f32', 'images');
    this.own = zeros([size], 'u32', 'labels');
    this.labels = this.mixed ? zeros([size], 'u32', 'labels.major') : this.own;
    this.targets = this.mixed ? zeros([size, classes], 'f32', 'targets') : this.own;
    const slots = this.plain ? 0 : slotsOf(augmentation);
    this.frames = zeros([this.plain ? 0 : size, FRAME_WORDS], 'u32', 'frames');
    this.program = zeros([slots, size, IMAGE_OP_WORDS], 'u32', 'program');
  }

  /** Says which records a step takes and what happens to them; how it mixes them goes into the step's state. */
  draw(records: Uint32Array<ArrayBuffer>, seed: number, step: number): Mix {
    const { augmentation, mixing, shape } = this.input;
    const size = { height: shape[1], width: shape[2] };
    this.index.upload(records);
    if (!this.plain) {
      const plans = Array.from(records, (_, b) => planImage(augmentation, size, seed, step, b));
      const { frames, program } = encodePlans(
        plans,
        this.program.shape[0] as number,
        size.height,
        size.width,
      );
      this.frames.upload(frames);
      if (program.length > 0) this.program.upload(program);
    }
    return drawMix(mixing, size, seed, step);
  }

  /** Asks the device for images, labels and targets of what was drawn. */
  gather(step: Tensor): void {
    scope(() => {
      if (this.plain) this.cropOnly(step);
      else this.augment(step);
      if (!this.mixed) return;
      mixImages(this.images, step);
      mixTargets(this.own, step, this.targets, this.labels);
    });
  }

  private cropOnly(step: Tensor): void {
    const { store, augmentation } = this.input;
    const { flipCrop: flip, reflect } = augmentation;
    const options = { pad: flip ? PADDING : 0, reflect, flip, stream: stream.augment };
    gatherBatch(store, this.index, step, options, this.images, this.own);
  }

  private augment(step: Tensor): void {
    const { store, augmentation } = this.input;
    const { index, frames, program } = this;
    const { reflect, resizedCrop, bilinear, fill, erasing } = augmentation;
    const options = {
      reflect,
      resize: resizedCrop !== null,
      bilinear,
      fill: fill.reduce((word, byte, c) => word + byte * 256 ** c, 0),
      noise: erasing.noise ? stream.noise : null,
    };
    augmentBatch(store, { index, frames, program, step }, options, this.images, this.own);
  }
}
