/**
 * The library in Node: everything that `patchlight` has, and what needs files.
 *
 * @module patchlight/node
 */
export { type DatasetOptions, openDataset } from './data/sources.js';
export * from './index.js';
export type { Progress as DownloadProgress } from './io/download.js';
export { type DecodedImage, decodeImage, type Fit, type ImageSize } from './io/image.js';
export type { TensorList } from './io/safetensors_file.js';
export type { Reporter } from './runs/reporter.js';
export { RunDirectory } from './runs/run_directory.js';
export { type Environment, RunSink, type RunSinkInput } from './runs/run_sink.js';
export { imagesOf, loadWeights, readRun, type SavedRun } from './runs/saved_run.js';
export { Trainer, type TrainerInput } from './runs/trainer.js';
