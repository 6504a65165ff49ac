/** From settings to a model for the images of a data set. */
import type { ImageFormat } from '../data/dataset.js';
import type { Model } from '../models/model.js';
import { modelNamed } from '../models/registry.js';
import type { Settings } from './settings.js';

/** Throws a ConfigError where settings and images do not fit together. Nothing is allocated on a device. */
export function buildModel(settings: Settings, images: ImageFormat): Model {
  const kind = modelNamed(settings.model);
  const own = Object.entries(settings).filter(([name]) => Object.hasOwn(kind.settings, name));
  return kind.build(Object.fromEntries(own), images);
}
