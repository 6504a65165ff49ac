/** Loads a model from a run directory or a weights file. The metadata of the weights are enough; no data set is read. */
import type { ImageFormat } from '../data/dataset.js';
import { describeDataset } from '../data/named.js';
import type { Gpu } from '../gpu/gpu.js';
import type { TensorList } from '../io/safetensors_file.js';
import type { Model } from '../models/model.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { Arena } from '../tensor/arena.js';
import { findWeights, loadParts, metadataField, readCheckpoint } from './checkpoint.js';

/** A weights file with the settings that it was trained with. */
export interface SavedRun {
  readonly path: string;
  readonly file: TensorList;
  readonly settings: Settings;
}

/**
 * Reads the metadata of saved weights. `path` is a weights file, or a run directory: then its best weights, or its final
 * ones if there are no best. Throws a ConfigError if there are none, a FormatError if the file is damaged.
 */
export function readRun(path: string): SavedRun {
  const found = findWeights(path);
  const file = readCheckpoint(found);
  return { path: found, file, settings: resolveSettings(metadataField<Settings>(found, file, 'settings')) };
}

/** The format of the images that a run was trained on: their size, normalisation and classes. */
export function imagesOf({ path, file, settings }: SavedRun): ImageFormat {
  // Weights saved by 0.1.0 have the name of their data set, but not the format of its images.
  const known = 'images' in file.metadata ? null : describeDataset(settings.dataset);
  return {
    ...(known ?? metadataField<Omit<ImageFormat, 'classes'>>(path, file, 'images')),
    classes: metadataField<string[]>(path, file, 'classes'),
  };
}

/**
 * Loads a run's weights, or those of the file `weights`, into a model on the device. Returns the file that they came from.
 * Throws a FormatError if they do not fit the model.
 */
export function loadWeights(
  gpu: Gpu,
  model: Model,
  run: SavedRun,
  weights?: string,
): Pick<SavedRun, 'path' | 'file'> {
  const arena = new Arena(gpu, model.parameters(), () => true);
  const source = weights ? { path: weights, file: readCheckpoint(weights) } : run;
  loadParts(source.path, { '': { layout: arena, tensor: arena.values } });
  return source;
}
