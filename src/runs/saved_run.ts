/** From a run directory or a file of weights to a model on the device: what its metadata say is enough, no data set is read. */
import type { ImageFormat } from '../data/dataset.js';
import { describeDataset } from '../data/sources.js';
import type { Gpu } from '../gpu/gpu.js';
import type { TensorList } from '../io/safetensors_file.js';
import type { Model } from '../models/model.js';
import { resolveSettings, type Settings } from '../recipe/settings.js';
import { Arena } from '../tensor/arena.js';
import { findWeights, loadParts, metadataField, readCheckpoint } from './checkpoint.js';

/** A file of weights, with the settings that they were trained by. */
export interface SavedRun {
  readonly path: string;
  readonly file: TensorList;
  readonly settings: Settings;
}

/** `path` is a run directory, of which the best weights are taken, else the final ones, or a file of weights. */
export function readRun(path: string): SavedRun {
  const found = findWeights(path);
  const file = readCheckpoint(found);
  return { path: found, file, settings: resolveSettings(metadataField<Settings>(found, file, 'settings')) };
}

/** The images that a run was trained on: their size, normalisation and classes. */
export function imagesOf({ path, file, settings }: SavedRun): ImageFormat {
  // Weights saved by 0.1.0 name their data set and no more.
  const known = 'images' in file.metadata ? null : describeDataset(settings.dataset);
  return {
    ...(known ?? metadataField<Omit<ImageFormat, 'classes'>>(path, file, 'images')),
    classes: metadataField<string[]>(path, file, 'classes'),
  };
}

/** Puts a run's weights, or those of the file `weights`, into a model on the device; returns where they came from. */
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
