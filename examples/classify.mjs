// Classifies an image by a trained model. `node classify.mjs RUN|FILE.safetensors IMAGE`
// RUN is a run directory of `patchlight train`, FILE the weights that train.mjs saves.
import {
  buildModel,
  classify,
  decodeImage,
  Gpu,
  imagesOf,
  likeliest,
  loadWeights,
  readRun,
} from 'patchlight/node';

const [, , path, image] = process.argv;
if (!path || !image) {
  console.error('Name a run directory or a safetensors file, and an image.');
  process.exit(2);
}

// The metadata of the weights are enough to build the model and to prepare images; no data set is read.
const run = readRun(path);
const images = imagesOf(run);
const model = buildModel(run.settings, images);
const gpu = await Gpu.open();
loadWeights(gpu, model, run);

const { bytes } = await decodeImage(image, images, 'crop'); // any size and format, to bytes (C, H, W)
const classifier = { gpu, model, images, normalize: run.settings.normalize, flip: false };
const [probabilities] = await classify(classifier, [bytes]);
for (const { class: name, probability } of likeliest(probabilities ?? new Float64Array(), images.classes, 3))
  console.log(`${(100 * probability).toFixed(1).padStart(5)} %  ${name}`);
gpu.close();
