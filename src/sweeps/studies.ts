/** Ready-made sweeps that answer common questions about Vision Transformers. */
import { ConfigError } from '../core/errors.js';
import type { Settings } from '../recipe/settings.js';
import { type Configuration, nameBy } from './grid.js';

export interface Study {
  /** A phrase for --help. */
  readonly about: string;
  /** The preset that it starts from unless --preset names another. */
  readonly preset: string;
  /** The length of training, long enough to show a difference; with --max-flops these end the runs instead. */
  readonly budget: Partial<Settings> & { readonly epochs: number };
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
    changes: ({ flip }) => [
      { augment: 'none', ...(flip === 'alternating' ? { flip: 'random' } : {}) },
      { augment: 'flip-crop' },
    ],
  },
  warmup: {
    about: 'no warm-up, or warm-up over a tenth of the run',
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

/** More epochs than any run trains: where FLOPs end a run, epochs are no limit. */
const UNLIMITED_EPOCHS = 1_000_000;

/** The budget of a study whose runs end by their floating-point operations. */
export const flopsBudget = ({ budget }: Study): Partial<Settings> => ({
  ...budget,
  epochs: UNLIMITED_EPOCHS,
});

interface EqualFlops {
  /** True if a warm-up was asked for in epochs: then only a study of warm-ups changes it. */
  readonly keepsWarmup: boolean;
  /** The epochs that a configuration's FLOPs suffice for. */
  readonly epochsFor: (changes: Partial<Settings>) => Promise<number>;
}

/**
 * The configurations of a study whose runs spend equal FLOPs, and so train for different numbers of epochs. Each keeps the share
 * of warm-up that it would have over the study's own epochs.
 */
export async function atEqualFlops(
  study: Study,
  base: Settings,
  { keepsWarmup, epochsFor }: EqualFlops,
): Promise<Configuration[]> {
  const nominal = study.budget.epochs;
  const all: Configuration[] = [];
  for (const changes of study.changes({ ...base, epochs: nominal })) {
    const studied = 'warmupEpochs' in changes;
    const share = (changes.warmupEpochs ?? base.warmupEpochs) / nominal;
    if (share === 0 || (keepsWarmup && !studied)) {
      all.push(nameBy(changes));
      continue;
    }
    const epochs = Math.min(base.epochs, await epochsFor(changes));
    const warmed = { ...changes, warmupEpochs: Number((share * epochs).toPrecision(3)) };
    all.push({ ...nameBy(studied ? warmed : changes), changes: warmed });
  }
  return all;
}
