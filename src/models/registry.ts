/** The models by name, for `--model NAME`. */
import { ConfigError } from '../core/errors.js';
import type { Rows, SettingsOf } from '../core/setting.js';
import type { ImageFormat } from '../data/dataset.js';
import type { Model } from './model.js';
import { VisionTransformer } from './vit.js';
import { vitSettings } from './vit_settings.js';

/** An entry of the registry. `R` has the rows of its settings. */
export interface ModelKind<R extends Rows = Rows> {
  /** One line for `--help`. */
  readonly about: string;
  /** The rows of its settings: names, defaults, ranges and help texts. */
  readonly settings: R;
  /** Settings that a phase of a run may change (`--phases`): the model of the next phase takes over the weights. */
  readonly phased?: readonly string[];
  /** Builds a model for the given images. Throws a ConfigError if the sizes do not fit together. */
  build(settings: SettingsOf<R>, images: ImageFormat): Model;
}

const vit: ModelKind<typeof vitSettings> = {
  about: 'Vision Transformer (Dosovitskiy et al., 2021)',
  settings: vitSettings,
  phased: [
    ...['patchSize', 'inputSize', 'gradCheckpointing', 'dropout', 'embedDropout', 'mlpDropout'],
    ...['residualDropout', 'attentionDropout', 'dropPath', 'dropPathMode', 'keepTokens', 'freezePatchEmbed'],
  ],
  build: (settings, { height, width, channels, classes }) =>
    new VisionTransformer({ ...settings, imageSize: [height, width], channels, classes: classes.length }),
};

// The cast is safe because `buildModel` gives a kind only the settings of its own rows, as `settle` has checked them.
const kinds = new Map<string, ModelKind>([['vit', vit as unknown as ModelKind]]);

/** Adds a model under a new name. Throws a ConfigError if the name is taken. */
export function registerModel<R extends Rows>(name: string, kind: ModelKind<R>): void {
  if (kinds.has(name)) throw new ConfigError(`There is already a model called ${name}. Choose another name.`);
  kinds.set(name, kind as unknown as ModelKind);
}

/** The names of all models, built-in ones and registered ones. */
export const modelNames = (): string[] => [...kinds.keys()];

/** Throws a ConfigError that lists the models if there is none of this name. */
export function modelNamed(name: string): ModelKind {
  const kind = kinds.get(name);
  if (!kind)
    throw new ConfigError(`There is no model called ${name}. Choose one of ${modelNames().join(', ')}.`);
  return kind;
}
