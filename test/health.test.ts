/** A value that is not finite, planted anywhere, is named and ends the run within one log interval. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { NonFiniteError } from '../src/core/errors.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import { Trainer } from '../src/runs/trainer.js';
import type { Tensor } from '../src/tensor/tensor.js';
import { lossSpike } from '../src/training/health.js';
import { record } from './faults/common.js';
import { withGpu } from './gpu.js';
import { images } from './images.js';

const gpuOf = withGpu();
const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
afterAll(() => rmSync(folder, { recursive: true }));

const dataset = images({ train: 60, test: 20 });
const LOG_INTERVAL = 3;
const settings = resolveSettings({
  ...{ embedDim: 24, depth: 2, numHeads: 3, mlpRatio: 2, patchSize: 8, batchSize: 10 },
  ...{ epochs: 2, logInterval: LOG_INTERVAL, clipGrad: 1 },
});

/** The parts that tests reach into. */
interface Inside {
  readonly training: {
    readonly arena: { values: Tensor; slots: { parameter: { name: string }; start: number }[] };
    readonly optimizer: { m: Tensor; v: Tensor };
    readonly step: { share: Tensor; parts: { input: { store: { norm: Tensor } } } };
  };
}

async function plant(tensor: Tensor, index: number, value: number): Promise<void> {
  const values = await tensor.toFloat32();
  values[index] = value;
  tensor.upload(values);
}

const inArena = (pick: (inside: Inside) => Tensor, name: string) => async (inside: Inside, value: number) => {
  const slot = inside.training.arena.slots.find(({ parameter }) => parameter.name === name);
  await plant(pick(inside), slot!.start + 1, value);
};

const values = ({ training }: Inside) => training.arena.values;
const places: [string, (inside: Inside, value: number) => Promise<void>, RegExp][] = [
  ...['patch_embed.proj.weight', 'blocks.0.attn.qkv.weight', 'blocks.1.norm2.bias', 'cls_token', 'head.weight'].map(
    (name) => [name, inArena(values, name), new RegExp(`parameter ${name.replaceAll('.', '\\.')}`)] as never,
  ),
  ['first moment', inArena(({ training }) => training.optimizer.m, 'blocks.1.mlp.fc1.weight'), /parameter blocks\.1\.mlp\.fc1\.weight/],
  ['second moment', inArena(({ training }) => training.optimizer.v, 'pos_embed'), /(v|parameter) pos_embed/],
  ['gradient', ({ training }, value) => plant(training.step.share, 0, value), /gradient of \S+/],
  ['input images', ({ training }, value) => plant(training.step.parts.input.store.norm, 0, value), /the loss is NaN/],
]; // biome-ignore format: one place a line

const bad = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];

it.each(places)('%s: what is not finite is found and named', async (name, put, says) => {
  for (const value of bad) await find((inside) => put(inside, value), says);
  record({
    section: 'Numbers that are not finite',
    provoked: `${bad.join(', ')} in a run: ${name}`,
    times: bad.length,
    held: 'found within one log interval; the step and what is not finite are named; the state before is untouched',
  });
});

async function find(put: (inside: Inside) => Promise<void>, says: RegExp): Promise<void> {
  const path = join(mkdtempSync(join(folder, 'run-')), 'run');
  const open = (resume: boolean) => {
    const run = RunDirectory.open(path, { resume });
    const reporter = { start() {}, step() {}, epoch() {}, note() {} };
    return { gpu: gpuOf(), settings, dataset, run, reporter, environment: {} };
  };
  const state = join(path, 'checkpoints', 'last.state.safetensors');
  const before = await Trainer.prepare({ ...open(false), settings: { ...settings, maxSteps: 4 } });
  await before.run();
  const saved = readFileSync(state);

  const trainer = await Trainer.prepare({ ...open(true), resume: path });
  await put(trainer as unknown as Inside);
  const failure = await trainer.run().then(
    () => null,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(NonFiniteError);
  expect((failure as Error).message).toMatch(says);
  const step = Number(/^Step (\d+):/.exec((failure as Error).message)?.[1]);
  expect(step).toBeGreaterThan(4);
  expect(step).toBeLessThanOrEqual(4 + LOG_INTERVAL);
  expect(readFileSync(state)).toEqual(saved);
}

it('a loss far above those before is a spike, an ordinary one is not', () => {
  const window: number[] = [];
  for (let i = 0; i < 127; i++) expect(lossSpike(window, 2 + 0.1 * Math.sin(i))).toBeNull();
  expect(lossSpike(window, 9)).toBeNull(); // too few to judge by
  for (let i = 0; i < 128; i++) lossSpike(window, 2 + 0.1 * Math.sin(i));
  expect(lossSpike(window, 2.2)).toBeNull();
  expect(lossSpike(window, 3)).toBeGreaterThan(6);
  expect(window).toHaveLength(128);
});
