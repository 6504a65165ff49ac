/** Initial values that a model computes from training images. */
import type { Dataset, Split } from '../data/dataset.js';
import { normalisedImages, sampleRecords } from '../data/sample.js';
import type { Settings } from '../recipe/settings.js';
import type { LoadWeights } from './trainable.js';

/** Training images: `records` are indices into the split. */
interface TrainingImages {
  readonly dataset: Dataset;
  readonly split: Split;
  readonly records: Uint32Array;
}

/**
 * Writes the initial values that the model computes from images, if it has any (`Model.fromImages`). The images are drawn
 * by the seed among those to train on. A dry run needs no values, so it computes none.
 */
export function initialiseFromImages(
  { dataset, split, records }: TrainingImages,
  { seed, normalize }: Settings,
): LoadWeights {
  return (arena, model) => {
    const init = arena.gpu.dry ? null : model.fromImages();
    if (!init) return;
    const { channels, height, width } = dataset;
    const chosen = sampleRecords(records, init.count, seed);
    const pixels = normalisedImages(dataset, split, chosen, normalize);
    const values = init.parameter.initial(seed, model.parameters().indexOf(init.parameter));
    init.amend(values, { pixels, channels, height, width });
    arena.write(arena.values, (parameter) => (parameter === init.parameter ? values : null));
  };
}
