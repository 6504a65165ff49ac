/** The messages between the page and its worker. The worker trains; the page draws and asks. */

import type { OpTime } from '../gpu/profile.js';
import type { Learned, Look } from '../inspect/look.js';

/** The settings that the page offers, and that a link carries. */
export interface Choices {
  readonly dataset: 'shapes10' | 'cifar10' | 'cifar100';
  readonly embedDim: number;
  readonly depth: number;
  readonly numHeads: number;
  readonly patchSize: number;
  readonly optimizer: 'adamw' | 'muon';
  readonly learningRate: number;
  readonly augment: 'none' | 'flip-crop' | 'trivial';
  readonly batchSize: number;
  readonly epochs: number;
  /** Stop after so many steps; 0 for all epochs. */
  readonly steps: number;
  readonly seed: number;
}

/** One point of a run's curves. */
export interface Point {
  readonly step: number;
  readonly loss: number;
  readonly lr: number;
  /** Training accuracy, the mean over the epoch so far, as a fraction. */
  readonly accuracy: number | null;
}

/** An evaluation on test images, as fractions. */
export interface Scored {
  readonly step: number;
  readonly accuracy: number;
  readonly loss: number;
  readonly images: number;
}

/** The curves of a run. */
export interface Curves {
  readonly points: readonly Point[];
  readonly scores: readonly Scored[];
}

/** A run that the browser keeps. */
export interface SavedRun extends Curves {
  readonly choices: Choices;
  readonly step: number;
  readonly totalSteps: number;
}

/** The image to look into: one of the strip, by its place, or the visitor's own. */
export type Chosen = number | 'own';

export type Request =
  | { readonly kind: 'open' }
  /** `brief`: at most 500 images an evaluation. */
  | { readonly kind: 'train'; readonly choices: Choices; readonly brief: boolean }
  | { readonly kind: 'continue' }
  | { readonly kind: 'pause' }
  | { readonly kind: 'save' }
  /** A factor of the scheduled learning rate, from now on. */
  | { readonly kind: 'rate'; readonly factor: number }
  | { readonly kind: 'choose'; readonly chosen: Chosen }
  /** Bytes (3, 32, 32) of the visitor's own image. */
  | { readonly kind: 'picture'; readonly pixels: Uint8Array }
  | { readonly kind: 'profile' }
  /** Eight training images, plain and augmented by the given choices. */
  | { readonly kind: 'preview'; readonly choices: Choices }
  | { readonly kind: 'files'; readonly files: readonly File[] }
  | { readonly kind: 'weights' };

/** An image of the strip: its bytes (3, H, W) and its class. */
export interface StripImage {
  readonly pixels: Uint8Array;
  readonly label: number;
}

export interface Machine {
  readonly adapter: string;
  readonly vendor: string;
  readonly architecture: string;
  /** It runs on the CPU. */
  readonly software: boolean;
  readonly features: readonly string[];
  readonly immediates: boolean;
  readonly tuning: string;
  readonly limits: Readonly<Record<string, number>>;
}

export interface Started {
  readonly choices: Choices;
  readonly classes: readonly string[];
  readonly strip: readonly StripImage[];
  readonly parameters: number;
  readonly megaflopsAnImage: number;
  readonly grid: readonly [number, number];
  /** Tokens before the patches. */
  readonly prefix: number;
  readonly hidden: number;
  readonly heads: number;
  readonly totalSteps: number;
  /** Steps an epoch. */
  readonly batches: number;
  /** The first step that this session computes, less one: 0 for a new run. */
  readonly from: number;
  readonly curves: Curves;
}

export interface Pace {
  readonly step: number;
  readonly epoch: number;
  /** Mean over the epoch so far, as a fraction. */
  readonly accuracy: number | null;
  readonly imagesPerSecond: number;
  readonly gflops: number;
}

/** The profile of one step. */
export interface Profile {
  readonly step: number;
  readonly times: readonly OpTime[];
  /** The variant of each family of kernels that ran, by the family's name. */
  readonly variants: Readonly<Record<string, string>>;
}

export type Reply =
  | {
      readonly kind: 'ready';
      readonly machine: Machine;
      readonly saved: SavedRun | null;
      readonly datasets: readonly string[];
    }
  /** A sentence about what is going on before the first step. */
  | { readonly kind: 'preparing'; readonly sentence: string }
  | { readonly kind: 'started'; readonly run: Started }
  /** The first step is done: the kernels are compiled. */
  | { readonly kind: 'compiled'; readonly kernels: number; readonly seconds: number }
  | { readonly kind: 'steps'; readonly points: readonly Point[]; readonly pace: Pace }
  | { readonly kind: 'scored'; readonly scored: Scored }
  /** Class probabilities (K) of each image of the strip. */
  | { readonly kind: 'strip'; readonly step: number; readonly probabilities: readonly Float64Array[] }
  | { readonly kind: 'look'; readonly step: number; readonly chosen: Chosen; readonly look: Look }
  | { readonly kind: 'learned'; readonly step: number; readonly learned: Learned }
  | { readonly kind: 'profile'; readonly profile: Profile }
  | {
      readonly kind: 'preview';
      readonly plain: readonly Uint8Array[];
      readonly augmented: readonly Uint8Array[];
    }
  | { readonly kind: 'datasets'; readonly names: readonly string[] }
  | { readonly kind: 'saved'; readonly step: number }
  | { readonly kind: 'note'; readonly sentence: string }
  /** The run ended: all steps are done, or it was paused. */
  | { readonly kind: 'ended'; readonly finished: boolean }
  | { readonly kind: 'file'; readonly name: string; readonly bytes: Uint8Array }
  /** A sentence with the remedy, and the run that can be continued, if any. */
  | { readonly kind: 'failed'; readonly sentence: string; readonly saved: SavedRun | null };
