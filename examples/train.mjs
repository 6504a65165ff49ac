// Trains a small Vision Transformer on shapes10, which the program draws itself, and saves its weights.
// `node train.mjs [FILE]` writes FILE [vit.safetensors], with timm's names: timm loads it, and so does classify.mjs.
import { writeFileSync } from 'node:fs';
import { encodeWeights, fit, Gpu, resolveSettings, runMetadata, setup, shapes10 } from 'patchlight';

const [, , file = 'vit.safetensors'] = process.argv;

// Settings are those of `patchlight train`, in camelCase; `resolveSettings` adds the defaults and checks them.
const model = { embedDim: 96, depth: 3, numHeads: 3, mlpRatio: 2, patchSize: 8, pool: 'mean' };
const recipe = { epochs: 3, limitTrain: 5000, batchSize: 50, learningRate: 2e-3, clipGrad: 1, seed: 1 };
const gpu = await Gpu.open();
const training = await setup(gpu, resolveSettings(model, recipe, { augment: 'none' }), shapes10());
console.log(`${training.model.label}, ${training.model.numParams()} parameters, on ${gpu.info.name}`);

// A sink receives what a run gives out. Every method may be left out.
await fit(training, {
  epoch({ entry: { epoch, train_loss, val_accuracy } }) {
    console.log(`epoch ${epoch}  loss ${train_loss?.toFixed(3)}  test accuracy ${val_accuracy?.toFixed(3)}`);
  },
  async end(snapshot) {
    // The metadata says how to build the model and to prepare images for it.
    const metadata = runMetadata(training, { adapter: gpu.info.name }, snapshot.progress);
    writeFileSync(file, await encodeWeights(snapshot, metadata));
    console.log(`Weights: ${file}`);
  },
});
training.release();
gpu.close();
