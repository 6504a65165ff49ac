/** The gradients of a model whose patch embedding is frozen. */
import { expect, it } from 'vitest';
import { Tape } from '../src/autograd/tape.js';
import { VisionTransformer } from '../src/models/vit.js';
import type { VitOptions } from '../src/models/vit_config.js';
import { crossEntropy } from '../src/ops/index.js';
import { Arena } from '../src/tensor/arena.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, withGpu } from './gpu.js';

const gpuOf = withGpu();

// With fixed positions nothing before the first block is trained, so the gradient ends inside that block.
it.each<[string, VitOptions]>([
  ['with learned positions', {}],
  ['with fixed positions', { posEmbed: 'sincos2d', pool: 'mean' }],
  ['with fixed positions and checkpointing', { posEmbed: 'sincos2d', pool: 'mean', gradCheckpointing: true }],
])('leaves the gradients of all other parameters as they are, %s', async (_, options) => {
  const gpu = gpuOf();
  const gradients = async (freezePatchEmbed: boolean) => {
    const model = new VisionTransformer({
      ...{ embedDim: 24, depth: 2, numHeads: 3, patchSize: 8, freezePatchEmbed },
      ...options,
    });
    const arena = new Arena(gpu, model.parameters(), () => true);
    arena.initialise(model.parameters(), 3);
    const x = Tensor.from(gpu, normals([4, 3, 32, 32], 1), [4, 3, 32, 32]);
    const tape = new Tape();
    tape.backward(
      tape.run(() => crossEntropy(model.forward(x), Tensor.from(gpu, Uint32Array.of(0, 3, 6, 3)))),
    );
    return arena.trained.read(arena.trained.of(arena.gradients));
  };
  const all = await gradients(false);
  const most = await gradients(true);
  expect([...all.keys()].filter((name) => !most.has(name))).toEqual([
    'patch_embed.proj.weight',
    'patch_embed.proj.bias',
  ]);
  for (const [name, gradient] of most) expect(gradient, name).toEqual(all.get(name));
});
