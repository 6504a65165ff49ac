/** The images of a run on the device: those to train on, and those to evaluate. */
import { ConfigError } from '../core/errors.js';
import type { Dataset, Split } from '../data/dataset.js';
import { Sampler, type SplitIndices, splitIndices } from '../data/sampler.js';
import { uploadSplit } from '../data/store.js';
import type { Gpu } from '../gpu/gpu.js';
import type { ImageStore } from '../ops/batch.js';
import type { Settings } from '../recipe/settings.js';

/** The images for evaluation: `records` are indices into the split, which is on the host and on the device. */
export interface Validation {
  readonly store: ImageStore;
  readonly records: Uint32Array;
  readonly split: Split;
  /** `test`, or `validation` if training images are held out. */
  readonly name: string;
}

/** The images of a run. */
export interface RunImages {
  /** Indices of the images to train on. */
  readonly records: Uint32Array;
  readonly store: ImageStore;
  readonly sampler: Sampler;
  readonly validation: Validation;
}

/** The splits of a data set, on the host. */
export interface Splits {
  readonly train: Split;
  readonly test: Split;
}

export const loadSplits = async (dataset: Dataset): Promise<Splits> => ({
  train: await dataset.load('train'),
  test: await dataset.load('test'),
});

/** Puts the images on the device. The caller owns the tensors. Throws a ConfigError if none are left to train on. */
export function placeImages(
  gpu: Gpu,
  settings: Settings,
  dataset: Dataset,
  { train, test }: Splits,
): RunImages {
  const { train: records, validation: held } = recordsOf(settings, train.count);
  const upload = (split: Split) => uploadSplit(gpu, dataset, split, settings.normalize);
  const store = upload(train);
  const validation =
    held.length > 0
      ? { store, records: held, split: train, name: 'validation' }
      : { store: upload(test), records: everyRecord(test), split: test, name: 'test' };
  const { batchSize, gradAccumSteps, shuffle, seed } = settings;
  const sampler = new Sampler(records, batchSize * gradAccumSteps, { shuffle, seed });
  return { records, store, sampler, validation };
}

/** Divides `count` training images into those to train on and those held out. Throws a ConfigError if none are left. */
function recordsOf({ limitTrain, valSplit, seed }: Settings, count: number): SplitIndices {
  const used = limitTrain > 0 ? Math.min(limitTrain, count) : count;
  if (valSplit >= used)
    throw new ConfigError(
      `--val-split ${valSplit} leaves no training images: ${used < count ? `--limit-train leaves ${used} of ${count}` : `the data set has ${count}`}. Use a smaller split.`,
    );
  return splitIndices(used, valSplit, seed);
}

const everyRecord = ({ count }: Split): Uint32Array => Uint32Array.from({ length: count }, (_, i) => i);
