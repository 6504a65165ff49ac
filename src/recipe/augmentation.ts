/** From settings to the options of augmentation and mixing. */
import type { AugmentationOptions } from '../data/augmentation.js';
import { colorJitter } from '../data/color_jitter.js';
import type { ImageFormat } from '../data/dataset.js';
import type { MixingOptions } from '../data/mixing.js';
import { autoAugment, type Policy, randAugment, trivialAugment } from '../data/policies.js';
import { timmRandAugment } from '../data/timm_policy.js';
import type { TrainingInput } from '../data/training_batch.js';
import type { ImageStore } from '../ops/batch.js';
import type { Settings } from './settings.js';

/** The input of training steps. `batches` is the number of micro-batches in an epoch. */
export function trainingInput(
  settings: Settings,
  dataset: ImageFormat,
  store: ImageStore,
  batches: number,
): TrainingInput {
  return {
    store,
    shape: [dataset.channels, dataset.height, dataset.width],
    classes: dataset.classes.length,
    augmentation: augmentationOptions(settings, dataset.mean, batches),
    mixing: mixingOptions(settings, batches),
  };
}

/**
 * `mean` has the data set's mean of each channel, for pixels in [0, 1]; `batches` is the number of micro-batches in an epoch.
 */
export function augmentationOptions(
  settings: Settings,
  mean: readonly number[],
  batches: number,
): AugmentationOptions {
  const { colorJitter: limit, hueJitter: hue, randomErasing, erasingMode } = settings;
  const jitter = colorJitter({ brightness: limit, contrast: limit, saturation: limit, hue });
  const fills: Record<Settings['fill'], (m: number) => number> = {
    zero: () => 0,
    grey: () => 128,
    mean: (m) => Math.round(255 * m),
  };
  return {
    flipCrop: settings.augment !== 'none',
    flipEpoch: settings.flip === 'alternating' ? batches : null,
    reflect: settings.paddingMode === 'reflect',
    resizedCrop: settings.scaleMin > 0 ? { scaleMin: settings.scaleMin, ratioMax: settings.ratioMax } : null,
    policies: [...policyOf(settings), jitter],
    bilinear: settings.interpolation === 'bilinear',
    fill: mean.map(fills[settings.fill]),
    erasing: { probability: randomErasing, noise: erasingMode === 'pixel' },
  };
}

function policyOf(settings: Settings): readonly Policy[] {
  const { augment, randFlavour, randNumOps: numOps, randMagnitude: magnitude, randMstd, randInc } = settings;
  if (augment === 'auto') return [autoAugment];
  if (augment === 'trivial') return [trivialAugment];
  if (augment !== 'rand') return [];
  if (randFlavour === 'torchvision') return [randAugment(numOps, magnitude)];
  return [timmRandAugment({ numOps, magnitude, std: randMstd, increasing: randInc })];
}

function mixingOptions(settings: Settings, batches: number): MixingOptions {
  const { mixup, cutmix, mixupProb, mixupSwitchProb, mixupOffEpoch } = settings;
  return {
    mixup,
    cutmix,
    probability: mixupProb,
    switchProbability: mixupSwitchProb,
    offStep: mixupOffEpoch > 0 ? mixupOffEpoch * batches : Number.POSITIVE_INFINITY,
  };
}
