/** The library in Node: what src/index.ts has, and what needs files. */
export { type DatasetOptions, openDataset } from './data/sources.js';
export * from './index.js';
export { type DecodedImage, decodeImage } from './io/image.js';
export type { Reporter } from './runs/reporter.js';
export { RunDirectory } from './runs/run_directory.js';
export { type Environment, RunSink } from './runs/run_sink.js';
export { imagesOf, loadWeights, readRun } from './runs/saved_run.js';
export { Trainer, type TrainerInput } from './runs/trainer.js';
