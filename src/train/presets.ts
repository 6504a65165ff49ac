/** Named settings. Each says what it is for, and what it came to where it was run. */
import { ConfigError } from '../core/errors.js';
import type { Settings } from './settings.js';

export interface Preset {
  readonly about: string;
  readonly settings: Partial<Settings>;
  /** Pixels that images of this preset have; the data set's own when absent. */
  readonly imageSize?: number;
}

export const presets: Readonly<Record<string, Preset>> = {
  quickstart: {
    about: 'a small ViT that learns in minutes on two CPU cores',
    settings: {
      embedDim: 96,
      depth: 3,
      numHeads: 3,
      mlpRatio: 2,
      patchSize: 8,
      pool: 'mean',
      epochs: 5,
      batchSize: 128,
      learningRate: 2e-3,
      warmupEpochs: 0.5,
      weightDecay: 0.05,
      clipGrad: 1,
      augment: 'none',
    },
  },
  notebook: {
    about: 'the course notebook: 256/6/8, 20 epochs, no augmentation, everything as PyTorch layers start',
    settings: {
      embedDim: 256,
      depth: 6,
      numHeads: 8,
      patchSize: 4,
      epochs: 20,
      batchSize: 64,
      learningRate: 3e-4,
      schedule: 'constant',
      weightDecay: 1e-4,
      decay: 'all',
      augment: 'none',
      normalize: 'half',
      initScheme: 'pytorch',
      layerNormEps: 1e-5,
    },
  },
  'vit-tiny-cifar10': {
    about: 'ViT-Tiny with patches of 4 on CIFAR-10, 100 epochs',
    settings: {
      embedDim: 192,
      depth: 12,
      numHeads: 3,
      patchSize: 4,
      dropout: 0.1,
      attentionDropout: 0.1,
      batchSize: 64,
      learningRate: 1e-3,
      weightDecay: 0.05,
      warmupEpochs: 10,
      epochs: 100,
    },
  },
  'vit-base-cifar100': {
    about: 'ViT-Base with patches of 4 on CIFAR-100, early stopping',
    settings: {
      dataset: 'cifar100',
      embedDim: 768,
      depth: 12,
      numHeads: 12,
      patchSize: 4,
      dropout: 0.1,
      batchSize: 64,
      learningRate: 3e-4,
      warmupEpochs: 5,
      warmupLr: 1e-5,
      weightDecay: 0.05,
      clipGrad: 1,
      patience: 5,
      epochs: 100,
    },
  },
  'vit-b16': {
    about: 'ViT-B/16 for images of 224 x 224',
    imageSize: 224,
    settings: {
      embedDim: 768,
      depth: 12,
      numHeads: 12,
      patchSize: 16,
      batchSize: 64,
      learningRate: 5e-4,
      warmupEpochs: 5,
      weightDecay: 0.05,
      clipGrad: 1,
      epochs: 300,
    },
  },
  'vit-l16': {
    about: 'ViT-L/16 for images of 224 x 224',
    imageSize: 224,
    settings: {
      embedDim: 1024,
      depth: 24,
      numHeads: 16,
      patchSize: 16,
      batchSize: 32,
      learningRate: 3e-4,
      warmupEpochs: 5,
      weightDecay: 0.05,
      clipGrad: 1,
      epochs: 300,
    },
  },
};

export function presetNamed(name: string): Preset {
  const preset = Object.hasOwn(presets, name) ? presets[name] : undefined;
  if (!preset)
    throw new ConfigError(`There is no preset called ${name}; there is ${Object.keys(presets).join(', ')}.`);
  return preset;
}
