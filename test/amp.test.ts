/** --amp: products in f16 within a run, dynamic loss scaling as torch.amp.GradScaler's, skipped steps, continuation. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { autocast } from '../src/autograd/autocast.js';
import { Tape } from '../src/autograd/tape.js';
import { NonFiniteError } from '../src/core/errors.js';
import { roundToHalf } from '../src/core/half.js';
import { Gpu } from '../src/gpu/gpu.js';
import { asFloat32, decodeSafetensors } from '../src/io/safetensors.js';
import { linear } from '../src/ops/index.js';
import { clipNorm } from '../src/ops/optimizer.js';
import { makeStepState, writeStepState } from '../src/ops/step_state.js';
import { LossScale } from '../src/optim/loss_scale.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { Trainer } from '../src/runs/trainer.js';
import type { Arena } from '../src/tensor/arena.js';
import { Tensor } from '../src/tensor/tensor.js';
import type { StepEntry } from '../src/training/progress.js';
import { normals, withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('the loss scale', () => {
  const BETAS = { beta1: 0.9, beta2: 0.999 };

  it('grows, shrinks and counts as GradScaler does, and corrects for the steps that were taken', async () => {
    const gpu = gpuOf();
    const scale = new LossScale(gpu, BETAS, 3);
    const state = makeStepState(gpu);
    const clip = Tensor.zeros(gpu, [2]);
    const wanted = { scale: 2 ** 16, good: 0, skipped: 0, streak: 0 };
    let t = 0;
    for (const finite of [...'1101110111111001'].map(Number)) {
      writeStepState(state, { seed: 1, step: 0, slot: 0, lr: 1e-3, stepSize: 0, rootC2: 0, emaDecay: 0 });
      clip.upload(new Float32Array([1, finite]));
      scale.update(clip, state);
      if (finite) {
        t++;
        wanted.streak = 0;
        if (++wanted.good === 3) Object.assign(wanted, { scale: 2 * wanted.scale, good: 0 });
      } else {
        Object.assign(wanted, { scale: wanted.scale / 2, good: 0 });
        wanted.skipped++;
        wanted.streak++;
      }
      const [c1, c2] = [1 - BETAS.beta1 ** t, 1 - BETAS.beta2 ** t];
      const [size, good, skipped, streak, ...corrections] = await scale.values();
      expect({ scale: size, good, skipped, streak }).toEqual(wanted);
      const words = new Float32Array((await state.toUint32()).buffer);
      for (const [is, should] of [
        ...[[corrections[0], c1], [corrections[1], c2]],
        ...[[words[5], 1e-3 / c1], [words[6], Math.sqrt(c2)]],
      ] as [number, number][]) // biome-ignore format: pairs
        expect(Math.abs(is - should)).toBeLessThanOrEqual(2e-6 * should);
    }
    expect(wanted.skipped).toBe(4);
  });

  it.each([
    [0, 2 ** 10],
    [1, 2 ** 10],
    [1, 2 ** -3],
  ])('the gradient is clipped to %d as if it had never been scaled by %d', async (most, size) => {
    const gpu = gpuOf();
    const values = normals([1000], 1);
    const norm = Math.hypot(...values);
    const gradient = Tensor.from(
      gpu,
      values.map((v) => v * size),
    );
    const clip = Tensor.zeros(gpu, [2]);
    clipNorm(gradient, clip, most, Tensor.from(gpu, new Float32Array([size])));
    const [is, coefficient] = (await clip.toFloat32()) as unknown as [number, number];
    expect(is).toBeCloseTo(norm, 3);
    expect(coefficient * size).toBeCloseTo(most > 0 ? most / norm : 1, 6);
  });
});

it('backward products are in f16 too, sums of biases are not', async () => {
  const gpu = gpuOf();
  const [x, weight, dy] = [normals([5, 8], 1), normals([4, 8], 2), normals([5, 4], 3)];
  const leaf = (data: Float32Array<ArrayBuffer>, shape: number[]) => {
    const tensor = Tensor.from(gpu, data, shape);
    tensor.requiresGrad = true;
    tensor.grad = Tensor.zeros(gpu, shape);
    return tensor;
  };
  const [X, W, B] = [leaf(x, [5, 8]), leaf(weight, [4, 8]), leaf(new Float32Array(4), [4])];
  autocast(() => {
    const tape = new Tape();
    tape.backward(
      tape.run(() => linear(X, W, B)),
      { gradient: Tensor.from(gpu, dy, [5, 4]) },
    );
  });
  const half = (data: Float32Array) => Array.from(data, roundToHalf);
  const [hx, hw, hy] = [half(x), half(weight), half(dy)];
  const dW = Array.from({ length: 32 }, (_, i) =>
    [0, 1, 2, 3, 4].reduce((sum, r) => sum + hy[4 * r + Math.floor(i / 8)]! * hx[8 * r + (i % 8)]!, 0),
  );
  const dX = Array.from({ length: 40 }, (_, i) =>
    [0, 1, 2, 3].reduce((sum, o) => sum + hy[4 * Math.floor(i / 8) + o]! * hw[8 * o + (i % 8)]!, 0),
  );
  const dB = Array.from({ length: 4 }, (_, o) => [0, 1, 2, 3, 4].reduce((sum, r) => sum + dy[4 * r + o]!, 0));
  for (const [tensor, wanted] of [[X, dX], [W, dW], [B, dB]] as const) // biome-ignore format: a table
    for (const [i, value] of (await tensor.grad!.toFloat32()).entries())
      expect(Math.abs(value - wanted[i]!)).toBeLessThanOrEqual(2e-6);
});

const dataset = images({ train: 60, test: 20 });
const small: Partial<Settings> = {
  ...{ embedDim: 24, depth: 2, numHeads: 3, mlpRatio: 2, patchSize: 8, batchSize: 10, epochs: 2, amp: true },
  ...{ logInterval: 3, clipGrad: 1, dropout: 0.1, emaDecay: 0.9, learningRate: 3e-3 },
};

async function prepare(name: string, changes: Partial<Settings> = {}, resume = false, gpu = gpuOf()) {
  const path = join(folder, name);
  const notes: string[] = [];
  const reporter = { start() {}, step() {}, epoch() {}, note: (text: string) => notes.push(text) };
  const settings = resolveSettings({ ...small, ...changes });
  const run = RunDirectory.open(path, { resume });
  const input = { gpu, settings, dataset, run, reporter, environment: {} };
  const trainer = await Trainer.prepare({ ...input, resume: resume ? path : undefined });
  const parts = trainer.training as { lossScale: LossScale; arena: Arena };
  const log = () =>
    readFileSync(join(path, 'steps.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as StepEntry);
  const state = () => readFileSync(join(path, 'checkpoints', 'last.state.safetensors'));
  return { trainer, parts, notes, log, state };
}

// As on GPUs, and as on software adapters.
describe.each([
  ['f16', 1],
  ['f32', 0],
])('a run whose products leave %s', (dtype, halfTensors) => {
  beforeEach(() => {
    gpuOf().info.knobs.halfTensors = halfTensors;
  });

  it('keeps tensors so between products', async () => {
    const { trainer, parts } = await prepare(`kept-${dtype}`, { maxSteps: 1 });
    const made = vi.spyOn(Tensor, 'empty');
    onTestFinished(() => made.mockRestore());
    await trainer.run();
    const halves = made.mock.calls.filter(([, , type]) => type === 'f16').map(([, , , label]) => label);
    const expected = [
      'attention',
      'dlayer_norm',
      'dropout',
      'gelu',
      'layer_norm',
      'linear',
      'parameters.half',
    ];
    expect([...new Set(halves)].filter((label) => expected.includes(label as string)).sort()).toEqual(
      halfTensors ? expected.filter((label) => label !== 'parameters.half') : [],
    );
    const { half } = parts.arena.slots[0]!.parameter.tensor;
    expect(half?.dtype).toBe(halfTensors ? 'f16' : undefined);
  });

  it('follows that of float32, and is not it', async () => {
    const amp = await prepare(`amp-${dtype}`);
    const full = await prepare(`full-${dtype}`, { amp: false });
    await amp.trainer.run();
    await full.trainer.run();
    const [a, b] = [amp.log(), full.log()];
    expect(a).toHaveLength(4);
    for (const [i, { loss, grad_norm, loss_scale, skipped_steps }] of a.entries()) {
      expect(Math.abs(loss - b[i]!.loss)).toBeLessThan(0.02);
      // The norm of the gradients of the loss itself, whatever it was scaled by.
      expect(grad_norm! / b[i]!.grad_norm!).toBeCloseTo(1, 1);
      expect({ loss_scale, skipped_steps }).toEqual({ loss_scale: 2 ** 16, skipped_steps: 0 });
    }
    expect(a.map(({ loss }) => loss)).not.toEqual(b.map(({ loss }) => loss));
    expect(b[0]).not.toHaveProperty('loss_scale');
    expect(amp.notes).toEqual([]);
  });

  it('is continued exactly, after skipped steps too', async () => {
    const overflowing = 2 ** 23;
    const whole = await prepare(`whole-${dtype}`, { batchSize: 5, gradAccumSteps: 2 });
    whole.parts.lossScale.restore([overflowing]);
    await whole.trainer.run();
    const cut = await prepare(`cut-${dtype}`, { batchSize: 5, gradAccumSteps: 2, maxSteps: 5 });
    cut.parts.lossScale.restore([overflowing]);
    await cut.trainer.run();
    const rest = await prepare(`cut-${dtype}`, { batchSize: 5, gradAccumSteps: 2 }, true);
    await rest.trainer.run();
    const [a, b] = [whole, rest].map(({ state }) => decodeSafetensors('state', state()));
    expect(b!.metadata.loss_scale).toBe(a!.metadata.loss_scale);
    const [, good, skipped] = JSON.parse(a!.metadata.loss_scale as string);
    expect([good > 3, skipped > 1]).toEqual([true, true]);
    expect(a!.tensors.size).toBeGreaterThan(40);
    for (const [name, tensor] of a!.tensors)
      expect(asFloat32(b!.tensors.get(name)!), name).toEqual(asFloat32(tensor));
  });

  it('skips what overflows, lowers the scale and goes on', async () => {
    const { trainer, parts, notes, log } = await prepare(`overflow-${dtype}`, { maxSteps: 9 });
    const before = await parts.arena.values.toFloat32();
    parts.lossScale.restore([2 ** 23]);
    await trainer.run();
    const { scale, skipped, streak } = await parts.lossScale.status();
    expect(skipped).toBeGreaterThan(0);
    expect(scale).toBe(2 ** (23 - skipped));
    expect(streak).toBe(0);
    expect(notes.some((text) => /of the last 3 steps overflowed f16 and were skipped/.test(text))).toBe(true);
    expect(log().at(-1)).toMatchObject({ loss_scale: scale, skipped_steps: skipped });
    expect(await parts.arena.values.toFloat32()).not.toEqual(before);
  });

  it('ends where no scale helps, with what it has kept', async () => {
    const { trainer, parts, log } = await prepare(`hopeless-${dtype}`, { epochs: 5 });
    parts.lossScale.restore([2 ** 100]);
    const before = await parts.arena.values.toFloat32();
    const failure = await trainer.run().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(NonFiniteError);
    expect((failure as Error).message).toMatch(
      /Step 21: gradients overflow f16 at a loss scale of .*, 21 steps/,
    );
    expect(await parts.arena.values.toFloat32()).toEqual(before);
    expect(log().every(({ grad_norm }) => grad_norm === null)).toBe(true);
  });
});

describe('a run', () => {
  it('is refused without f16', async () => {
    const gpu = await Gpu.open({ adapter: process.env.PATCHLIGHT_ADAPTER, without: ['shader-f16'] });
    onTestFinished(() => gpu.close());
    await expect(prepare('refused', {}, false, gpu)).rejects.toThrow(
      /--amp needs the WebGPU feature shader-f16, which .* does not have/,
    );
  });
});
