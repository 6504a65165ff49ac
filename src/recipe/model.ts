/** From settings to a model for the images of a data set. */
import type { ImageFormat } from '../data/dataset.js';
import type { Model } from '../models/model.js';
import { modelNamed } from '../models/registry.js';
import type { Settings } from './settings.js';

/**
 * Builds the model of the settings for the given images. Allocates nothing on a device. Throws a ConfigError if settings
 * and images do not fit together.
 */
export function buildModel(settings: Settings, images: ImageFormat): Model {
  const kind = modelNamed(settings.model);
  const own = Object.entries(settings).filter(([name]) => Object.hasOwn(kind.settings, name));
  return kind.build(Object.fromEntries(own), images);
}
