// Training in a page, on the visitor's GPU: nothing is sent anywhere. README.md says how to bundle and serve it.
import { fit, Gpu, PatchlightError, resolveSettings, setup, shapes10 } from 'patchlight';

const button = /** @type {HTMLButtonElement} */ (document.querySelector('button'));
const output = /** @type {HTMLOutputElement} */ (document.querySelector('output'));
const say = (/** @type {string} */ text) => {
  output.textContent = text;
};

async function train() {
  const gpu = await Gpu.open();
  const model = { embedDim: 64, depth: 2, numHeads: 4, patchSize: 8, pool: 'mean' };
  const recipe = { epochs: 2, limitTrain: 2000, batchSize: 64, learningRate: 2e-3, logInterval: 5 };
  const training = await setup(gpu, resolveSettings(model, recipe), shapes10());
  try {
    const { last } = await fit(training, {
      log: ({ step, loss }) => say(`step ${step}, loss ${loss.toFixed(3)}`),
    });
    say(`${((last?.top1 ?? 0) * 100).toFixed(1)} % of ${last?.images} test images`);
  } finally {
    training.release();
    gpu.close();
  }
}

button.addEventListener('click', async () => {
  button.disabled = true;
  document.documentElement.dataset.state = 'training';
  try {
    await train();
    document.documentElement.dataset.state = 'done';
  } catch (error) {
    document.documentElement.dataset.state = 'error';
    if (!(error instanceof PatchlightError)) throw error;
    say(error.message); // one sentence for people, such as that this browser has no WebGPU
  }
  button.disabled = false;
});
