/** The models by name: `--model NAME` builds one from its settings and the images of a data set. */
import { ConfigError } from '../core/errors.js';
import type { Rows, SettingsOf } from '../core/setting.js';
import type { ImageFormat } from '../data/dataset.js';
import type { Model } from './model.js';
import { VisionTransformer } from './vit.js';
import { vitSettings } from './vit_settings.js';

export interface ModelKind<R extends Rows = Rows> {
  /** One line for `--help`. */
  readonly about: string;
  /** The rows of its settings, which are the only place of their defaults and ranges. */
  readonly settings: R;
  /** Throws a ConfigError where the sizes do not fit together. */
  build(settings: SettingsOf<R>, images: ImageFormat): Model;
}

const vit: ModelKind<typeof vitSettings> = {
  about: 'Vision Transformer (Dosovitskiy et al., 2021)',
  settings: vitSettings,
  build: (settings, { height, width, channels, classes }) =>
    new VisionTransformer({ ...settings, imageSize: [height, width], channels, classes: classes.length }),
};

// A kind takes the settings of its own rows only, so a map of kinds of different rows is safe to call with `settle`'s result.
const kinds = new Map<string, ModelKind>([['vit', vit as unknown as ModelKind]]);

/** Adds a model of one's own. Throws a ConfigError where the name is taken. */
export function registerModel<R extends Rows>(name: string, kind: ModelKind<R>): void {
  if (kinds.has(name)) throw new ConfigError(`There is a model called ${name} already.`);
  kinds.set(name, kind as unknown as ModelKind);
}

export const modelNames = (): string[] => [...kinds.keys()];

/** Throws a ConfigError that lists the models where there is none of this name. */
export function modelNamed(name: string): ModelKind {
  const kind = kinds.get(name);
  if (!kind) throw new ConfigError(`There is no model called ${name}; there is ${modelNames().join(', ')}.`);
  return kind;
}
