/** Gradient checkpointing: the same bits as without, whatever a step has in it, and less memory. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { autocasting } from '../src/autograd/autocast.js';
import { checkpoint } from '../src/autograd/checkpoint.js';
import { Tape } from '../src/autograd/tape.js';
import type { Shape } from '../src/core/shape.js';
import { decodeSafetensors } from '../src/io/safetensors.js';
import { add, gelu, linear, scale, sum } from '../src/ops/index.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { checkContinuation } from '../src/runs/continuation.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { Trainer } from '../src/runs/trainer.js';
import { Tensor } from '../src/tensor/tensor.js';
import { setup } from '../src/training/setup.js';
import { normals, openGpu, withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
afterAll(() => rmSync(folder, { recursive: true }));

type Body = (...inputs: Tensor[]) => Tensor;
/** Runs a part of a model: as it stands, or checkpointed. */
type Run = (body: Body, ...inputs: Tensor[]) => Tensor;
const plainly: Run = (body, ...inputs) => body(...inputs);

describe('a checkpoint', () => {
  const leaf = (shape: Shape, seed: number): Tensor => {
    const tensor = Tensor.from(gpuOf(), normals(shape, seed), shape);
    tensor.requiresGrad = true;
    tensor.grad = Tensor.from(gpuOf(), normals(shape, 99), shape); // a gradient must overwrite it
    return tensor;
  };

  interface Leaves {
    readonly x: Tensor;
    readonly w: Tensor;
    readonly b: Tensor;
  }
  const mixed = (input: Tensor, { w, b }: Leaves): Tensor => gelu(linear(gelu(input), w, b));
  const besides = (x: Tensor): Tensor => {
    gelu(x);
    return x;
  };
  const unused = (run: Run, it: Leaves): Tensor => {
    const h = gelu(it.x);
    run((x) => gelu(x), h);
    return mixed(h, it);
  };
  const models: [string, (run: Run, leaves: Leaves) => Tensor][] = [
    ['of a leaf', (run, it) => run((x) => mixed(x, it), it.x)],
    ['of a computed tensor', (run, it) => run((x) => mixed(x, it), scale(it.x, 2))],
    [
      'after another, both of one parameter',
      (run, it) => [1, 2].reduce((x) => run((y) => mixed(y, it), x), it.x),
    ],
    ['within another', (run, it) => run((x) => gelu(run((y) => mixed(y, it), gelu(x))), it.x)],
    [
      'beside a use of its input',
      (run, it) =>
        ((h) =>
          add(
            h,
            run((x) => mixed(x, it), h),
          ))(gelu(it.x)),
    ],
    ['of two inputs', (run, it) => run((x, y) => add(gelu(x), mixed(y, it)), it.x, gelu(it.x))],
    [
      'that hands its input back',
      (run, it) =>
        mixed(
          run((x) => x, gelu(it.x)),
          it,
        ),
    ],
    ['that hands its input back after other work', (run, it) => mixed(run(besides, gelu(it.x)), it)],
    ['whose output nobody uses', unused],
  ];

  it.each(models)('%s has the bits of the plain tape, and leaves no memory', async (_, model) => {
    const gpu = gpuOf();
    const before = gpu.pool.liveBytes;
    const results = [plainly, checkpoint as Run].map((run) => {
      const leaves = { x: leaf([6, 8], 1), w: leaf([8, 8], 2), b: leaf([8], 3) };
      const tape = new Tape();
      const loss = tape.run(() => sum(model(run, leaves)));
      const { flops } = tape;
      tape.backward(loss);
      expect(tape.records).toHaveLength(0);
      return { flops, tensors: [loss, ...Object.values(leaves).flatMap((it) => [it, it.grad!])] };
    });
    const [plain, again] = await Promise.all(
      results.map(async ({ flops, tensors }) => ({
        flops,
        values: await Promise.all(tensors.map((tensor) => tensor.toFloat32())),
      })),
    );
    expect(again).toEqual(plain);
    for (const { tensors } of results) for (const tensor of tensors) tensor.release();
    expect(gpu.pool.liveBytes).toBe(before);
  });

  it('keeps its inputs and output alone, and clear frees them', () => {
    const gpu = gpuOf();
    const x = Tensor.from(gpu, normals([1024], 1));
    x.requiresGrad = true;
    const before = gpu.pool.liveBytes;
    const tape = new Tape();
    const loss = tape.run(() => sum(checkpoint((h) => gelu(gelu(gelu(h))), gelu(x))));
    expect(gpu.pool.liveBytes - before).toBe(4096 + 256); // the input, and the loss
    tape.clear();
    expect(gpu.pool.liveBytes - before).toBe(256);
    loss.release();
    x.release();
  });

  it('that throws in the backward pass frees everything', () => {
    const gpu = gpuOf();
    const x = Tensor.from(gpu, normals([1024], 1));
    x.requiresGrad = true;
    const before = gpu.pool.liveBytes;
    const tape = new Tape();
    let runs = 0;
    const body = (h: Tensor) => {
      const y = gelu(h);
      if (++runs === 2) throw new Error('the second time');
      return y;
    };
    const loss = tape.run(() => sum(checkpoint(body, gelu(x))));
    expect(() => tape.backward(loss)).toThrow('the second time');
    loss.release();
    expect(gpu.pool.liveBytes).toBe(before);
    expect(tape.records).toHaveLength(0);
    x.release();
  });

  it('without a tape runs its body once', () => {
    const x = Tensor.from(gpuOf(), normals([8], 1));
    let runs = 0;
    checkpoint((h) => {
      runs++;
      return gelu(h);
    }, x).release();
    expect(runs).toBe(1);
    x.release();
  });
});

const dataset = images({ train: 56, test: 10 });
const small: Partial<Settings> = {
  ...{ embedDim: 24, depth: 3, numHeads: 3, mlpRatio: 2, patchSize: 8 },
  ...{ batchSize: 16, epochs: 2, logInterval: 1, clipGrad: 1, emaDecay: 0.9 },
};
const random: Partial<Settings> = { dropout: 0.2, attentionDropout: 0.2, dropPath: 0.3 };

describe('training with --grad-checkpointing has the same bits', () => {
  /** Losses, gradients, weights and average of two epochs of recorded and replayed steps; the last batch is smaller. */
  async function steps(settings: Settings): Promise<unknown> {
    const training = await setup(gpuOf(), settings, dataset);
    const { step, sampler, optimizer, arena, ema } = training;
    const results: unknown[] = [];
    for (let i = 0; i < 2 * sampler.batches; i++) {
      const records = sampler.batch(Math.floor(i / sampler.batches), i % sampler.batches);
      const corrections = optimizer.corrections(1e-2, i + 1);
      step.run(records, { seed: 1, step: i, lr: 1e-2, ...corrections, emaDecay: ema!.decayAt(i + 1) });
      results.push(await step.read([{ step: i, images: records.length }]), await arena.gradients.toFloat32());
    }
    results.push(await arena.values.toFloat32(), await ema!.average.toFloat32());
    training.release();
    return results;
  }

  it.each<[string, Partial<Settings>]>([
    ['plain', {}],
    ['with dropout, attention dropout and drop path', random],
    ['with mixing and accumulated gradients', { ...random, mixup: 0.8, augment: 'rand', gradAccumSteps: 2 }],
    [
      'with Muon, mean pooling, LayerScale and QK norm',
      { optimizer: 'muon', pool: 'mean', layerScale: 0.1, qkNorm: true },
    ],
    ['in mixed precision, with dropout', { ...random, amp: true }],
    ['with locality self-attention', { ...random, locality: true }],
    ['with some of the patches and registers', { ...random, keepTokens: 0.4, regTokens: 2 }],
    ['with one block, which is not computed again', { depth: 1 }],
  ])('%s', async (_, more) => {
    const settings = resolveSettings({ ...small, ...more });
    const half = settings.amp && gpuOf().info.features.has('shader-f16');
    const { knobs } = gpuOf().info;
    const { halfTensors } = knobs;
    if (half) knobs.halfTensors = 1; // activations in f16, as on GPUs
    expect(await steps({ ...settings, gradCheckpointing: true })).toEqual(await steps(settings));
    knobs.halfTensors = halfTensors;
    expect(autocasting()).toBe(false);
  });

  it.each([
    [false, true],
    [true, false],
  ])('in a run that goes on after a stop, where it was %s and is %s', async (before, after) => {
    const settings = (gradCheckpointing: boolean) =>
      resolveSettings({ ...small, ...random, gradCheckpointing });
    const run = async (name: string, gradCheckpointing: boolean, stopAfter = 0, resume = false) => {
      const path = join(folder, `${name}-${before}`);
      const input = {
        ...{ gpu: gpuOf(), settings: settings(gradCheckpointing), dataset, environment: {} },
        run: RunDirectory.open(path, { resume }),
        reporter: { start() {}, step() {}, epoch() {}, note() {} },
        onStep: (step: number) => {
          if (step === stopAfter) trainer.stopRequested = true;
        },
      };
      const trainer = await Trainer.prepare(resume ? { ...input, resume: path } : input);
      await trainer.run();
      trainer.release();
      const file = join(path, 'checkpoints', 'last.state.safetensors');
      return decodeSafetensors(file, readFileSync(file)).tensors;
    };
    const whole = await run('whole', before);
    await run('changed', before, 3);
    checkContinuation(settings(before), settings(after)); // allows the change
    expect(await run('changed', after, 0, true)).toEqual(whole);
  });
});

it('--grad-checkpointing halves the buffers of a step, and more', async () => {
  const buffers = async (gradCheckpointing: boolean): Promise<number> => {
    const gpu = await openGpu();
    const settings = resolveSettings({ ...small, depth: 8, gradCheckpointing });
    const { step, sampler, optimizer } = await setup(gpu, settings, dataset);
    const before = gpu.pool.reservedBytes;
    step.run(sampler.batch(0, 0), { seed: 1, step: 0, lr: 0, ...optimizer.corrections(0, 1), emaDecay: 0 });
    await gpu.finish();
    const bytes = gpu.pool.reservedBytes - before;
    gpu.close();
    return bytes;
  };
  expect(await buffers(true)).toBeLessThan((await buffers(false)) / 2);
});
