/** Ready-made sweeps that answer common questions about Vision Transformers. */
import { ConfigError } from '../core/errors.js';
import type { Settings } from '../recipe/settings.js';
import { type Configuration, nameBy } from './grid.js';

export interface Study {
  /** A phrase for --help. */
  readonly about: string;
  /** The preset that it starts from unless --preset names another. */
  readonly preset: string;
  /** The length of training, long enough to show a difference. */
  readonly budget: Partial<Settings>;
  /** The settings that each configuration changes, given the shared ones. */
  readonly changes: (base: Settings) => readonly Partial<Settings>[];
}

export const studies: Readonly<Record<string, Study>> = {
  'patch-size': {
    about: 'patches of 2, 4 and 8 pixels: accuracy against cost',
    preset: 'quickstart',
    budget: { epochs: 10 },
    changes: () => [{ patchSize: 2 }, { patchSize: 4 }, { patchSize: 8 }],
  },
  augmentation: {
    about: 'no augmentation, or random crop and flip',
    preset: 'quickstart',
    budget: { epochs: 30 },
    changes: () => [{ augment: 'none' }, { augment: 'flip-crop' }],
  },
  warmup: {
    about: 'no warm-up, or warm-up over a tenth of the epochs',
    preset: 'quickstart',
    budget: { epochs: 10 },
    changes: ({ epochs }) => [{ warmupEpochs: 0 }, { warmupEpochs: epochs / 10 }],
  },
  width: {
    about: 'full and half embedding width, with the same number of heads',
    preset: 'quickstart',
    budget: { epochs: 10 },
    changes: ({ embedDim, ffnDim }) => [
      { embedDim },
      { embedDim: embedDim / 2, ...(ffnDim > 0 ? { ffnDim: ffnDim / 2 } : {}) },
    ],
  },
};

/** Throws a ConfigError that lists the studies if there is none of this name. */
export function studyNamed(name: string): Study {
  const study = Object.hasOwn(studies, name) ? studies[name] : undefined;
  if (!study)
    throw new ConfigError(
      `There is no study called ${name}. Choose one of ${Object.keys(studies).join(', ')}.`,
    );
  return study;
}

/** The named configurations of a study over the shared settings `base`. */
export const configurationsOf = (study: Study, base: Settings): Configuration[] =>
  study.changes(base).map(nameBy);
