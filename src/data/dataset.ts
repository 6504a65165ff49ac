/** A data set in memory: the format of its images, and its splits. */
import type { SplitName } from '../io/cifar.js';

/** The images of a data set: what a model and its checkpoints must know of them. */
export interface ImageFormat {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** One per channel over the training images, of pixels scaled to [0, 1]. */
  readonly mean: readonly number[];
  readonly std: readonly number[];
  /** The names of the classes; an image's label is an index into them. */
  readonly classes: readonly string[];
}

/** `images` is count * channels * height * width bytes, CHW; `labels[i]` is the class of image i. */
export interface Split {
  readonly images: Uint8Array;
  readonly labels: Uint8Array | Uint16Array;
  readonly count: number;
}

export interface Dataset extends ImageFormat {
  readonly name: string;
  /** Reads the split at the first call and keeps it. */
  load(split: SplitName): Promise<Split>;
}

/** A data set without its pixels. */
export type DatasetDescription = Omit<Dataset, 'load'>;
