/** Ready-made sweeps: questions that everybody has of a Vision Transformer, as data. */
import { ConfigError } from '../core/errors.js';
import type { Settings } from '../recipe/settings.js';
import { type Configuration, nameBy } from './grid.js';

export interface Study {
  readonly about: string;
  /** The preset that it starts from where none is named. */
  readonly preset: string;
  /** How long to train: long enough for the answer to show. */
  readonly budget: Partial<Settings>;
  /** What differs, given what all have in common. */
  readonly changes: (base: Settings) => readonly Partial<Settings>[];
}

export const studies: Readonly<Record<string, Study>> = {
  'patch-size': {
    about: 'patches of 2, 4 and 8 pixels: more tokens see more and cost more',
    preset: 'quickstart',
    budget: { epochs: 10 },
    changes: () => [{ patchSize: 2 }, { patchSize: 4 }, { patchSize: 8 }],
  },
  augmentation: {
    about: 'training images as they are, or shifted and mirrored at random',
    preset: 'quickstart',
    budget: { epochs: 30 },
    changes: () => [{ augment: 'none' }, { augment: 'flip-crop' }],
  },
  warmup: {
    about: 'the full learning rate at once, or after a tenth of the epochs',
    preset: 'quickstart',
    budget: { epochs: 10 },
    changes: ({ epochs }) => [{ warmupEpochs: 0 }, { warmupEpochs: epochs / 10 }],
  },
  width: {
    about: 'tokens of the full width and of half of it, with as many heads',
    preset: 'quickstart',
    budget: { epochs: 10 },
    changes: ({ embedDim, ffnDim }) => [
      { embedDim },
      { embedDim: embedDim / 2, ...(ffnDim > 0 ? { ffnDim: ffnDim / 2 } : {}) },
    ],
  },
};

export function studyNamed(name: string): Study {
  const study = Object.hasOwn(studies, name) ? studies[name] : undefined;
  if (!study)
    throw new ConfigError(`There is no study called ${name}; there is ${Object.keys(studies).join(', ')}.`);
  return study;
}

export const configurationsOf = (study: Study, base: Settings): Configuration[] =>
  study.changes(base).map(nameBy);
