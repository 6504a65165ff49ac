/** Training images as a step sees them: plain, and augmented. */
import type { Dataset } from '../data/dataset.js';
import { releaseStore, uploadSplit } from '../data/store.js';
import { TrainingBatch } from '../data/training_batch.js';
import type { Gpu } from '../gpu/gpu.js';
import { trainingInput } from '../recipe/augmentation.js';
import { owned } from '../tensor/scope.js';
import type { Choices } from './messages.js';
import { settingsFor } from './session.js';

const COUNT = 8;

/** The first training images as bytes (3, H, W) each, and augmented by the choices. */
export async function preview(
  gpu: Gpu,
  dataset: Dataset,
  choices: Choices,
): Promise<{ plain: Uint8Array[]; augmented: Uint8Array[] }> {
  const train = await dataset.load('train');
  const size = train.images.length / train.count;
  const split = {
    images: train.images.slice(0, COUNT * size),
    labels: train.labels.slice(0, COUNT),
    count: COUNT,
  };
  const settings = settingsFor(choices, gpu.info);
  const store = uploadSplit(gpu, dataset, split, settings.normalize);
  const { made: batch, release } = owned(
    () => new TrainingBatch(gpu, COUNT, trainingInput(settings, dataset, store, 1)),
  );
  batch.draw(
    Uint32Array.from({ length: COUNT }, (_, i) => i),
    settings.seed,
    0,
  );
  batch.gather();
  const [norm, values] = [await store.norm.toFloat32(), await batch.images.toFloat32()];
  release();
  releaseStore(store);
  const plane = dataset.height * dataset.width;
  const bytes = Uint8Array.from(values, (value, i) => {
    const c = Math.floor(i / plane) % dataset.channels;
    return Math.round((value - norm[dataset.channels + c]!) / norm[c]!);
  });
  const cut = (all: Uint8Array) =>
    Array.from({ length: COUNT }, (_, i) => all.slice(i * size, (i + 1) * size));
  return { plain: cut(split.images), augmented: cut(bytes) };
}
