/** The types of data sets: the format of their images, and their splits. */
import type { SplitName } from '../io/cifar.js';

/** The format of a data set's images, which models and checkpoints need. */
export interface ImageFormat {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** The mean of each channel over the training images, with pixels scaled to [0, 1]. */
  readonly mean: readonly number[];
  /** The standard deviation of each channel, as `mean`. */
  readonly std: readonly number[];
  /** The names of the classes; an image's label is an index into them. */
  readonly classes: readonly string[];
}

/** Images as bytes (count, channels, height, width). `labels[i]` is the class of image i. */
export interface Split {
  readonly images: Uint8Array;
  readonly labels: Uint8Array | Uint16Array;
  readonly count: number;
}

/** An image classification data set. */
export interface Dataset extends ImageFormat {
  readonly name: string;
  /** The images of a split, `train` or `test`. The first call reads them; later calls return the same object. */
  load(split: SplitName): Promise<Split>;
}

/** A data set without its pixels. */
export type DatasetDescription = Omit<Dataset, 'load'>;
