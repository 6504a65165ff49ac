// The same training in every host: 20 steps of a small ViT on shapes10. `patchlight` is the module of the library.
export async function steps({ fit, Gpu, resolveSettings, setup, shapes10 }) {
  const gpu = await Gpu.open();
  const model = { embedDim: 32, depth: 2, numHeads: 2, patchSize: 8, pool: 'cls', mlpRatio: 2 };
  const settings = resolveSettings(model, {
    ...{ epochs: 10, batchSize: 8, limitTrain: 16, learningRate: 2e-3, evalInterval: 10 },
    ...{ augment: 'flip-crop', labelSmoothing: 0.1, clipGrad: 1, logInterval: 1 },
  });
  const training = await setup(gpu, settings, shapes10());
  const losses = [];
  await fit(
    training,
    { log: ({ loss }) => losses.push(loss) },
    { evaluate: async () => ({ top1: 0, loss: 0 }) },
  );
  const kernels = [...new Set(gpu.kernels.map(({ kernel }) => kernel.name))];
  const reads = [];
  for (let i = 0; i < 8; i++) {
    const before = performance.now();
    await training.arena.read(training.arena.values);
    reads.push(performance.now() - before);
  }
  const { name, software, features } = gpu.info;
  training.release();
  gpu.close();
  return { losses, kernels, name, software, features: [...features], readMs: reads.sort((a, b) => a - b)[4] };
}
