/** Memory refused by the budget or the driver, anywhere in a step: it is named, counters stay exact, training goes on. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { OutOfMemoryError } from '../../src/core/errors.js';
import { Gpu } from '../../src/gpu/gpu.js';
import { Trainer } from '../../src/runs/trainer.js';
import { Tensor } from '../../src/tensor/tensor.js';
import type { TrainingStep } from '../../src/training/step.js';
import { Allocations, type Refusal } from './allocations.js';
import { LONG, record, scratch } from './common.js';
import { statePath, steps, tiny, trainerInput } from './run.js';

const folder = scratch('memory');
const section = 'Memory that is refused';

async function openOwn(budgetBytes?: number): Promise<Gpu> {
  const adapter = process.env.PATCHLIGHT_ADAPTER;
  const gpu = await Gpu.open({ adapter, ...(budgetBytes ? { budgetBytes } : {}) });
  onTestFinished(() => gpu.close());
  return gpu;
}

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

const says =
  /^\[[^\]]+\] out of memory: wanted [\d.]+ [GMK]?B, live [\d.]+ [GMK]?B, peak [\d.]+ [GMK]?B \(the driver: the allocator has no more\)\. A smaller batch size needs less\.$/;

let runs = 0;
const fresh = () => join(folder, `run-${runs++}`);
const stepOf = (trainer: Trainer): TrainingStep => trainer.training.step;

/** Drops the objects that a device keeps between steps, so that the next step allocates everything again. */
function forget(gpu: Gpu): void {
  type Free = { free: Map<number, unknown> };
  const { readback, textures } = gpu as unknown as { readback: Free; textures: Free };
  readback.free.clear();
  textures.free.clear();
}

/** One step on the first `count` images, and its metrics. It changes no parameter. */
async function step(gpu: Gpu, training: TrainingStep, count: number) {
  const records = Uint32Array.from({ length: count }, (_, i) => i);
  training.run(records, { seed: 1, step: 0, lr: 0, stepSize: 0, rootC2: 1, emaDecay: 1 });
  await gpu.granted();
  return training.read([{ step: 0, images: count }]);
}

describe.each<Refusal>(['at once', 'later'])('the driver refuses %s', (how) => {
  it('any one buffer or texture of a step', { timeout: LONG }, async () => {
    const gpu = await openOwn();
    const allocations = new Allocations(gpu.device);
    const exact = () => expect(gpu.memory.usedBytes).toBe(allocations.liveBytes);
    let last = Number.POSITIVE_INFINITY;
    let expected: unknown;
    for (let nth = 0; nth <= last; nth++) {
      const trainer = await Trainer.prepare(trainerInput(gpu, fresh()));
      const training = stepOf(trainer);
      const before = gpu.pool.liveBytes;
      allocations.arm(nth, how);
      const error = await failure(step(gpu, training, 20));
      if (nth === 0) last = allocations.asked;
      else {
        expect(error, `allocation ${nth} of ${last}`).toBeInstanceOf(OutOfMemoryError);
        expect((error as Error).message).toMatch(says);
      }
      allocations.arm(0, how);
      exact();
      // On the same device, a smaller batch gives the same result as without the failure.
      if (nth > 0) {
        const smaller = await step(gpu, training, 10);
        expected ??= smaller;
        expect(smaller).toEqual(expected);
        exact();
      }
      expect(gpu.pool.liveBytes).toBeGreaterThanOrEqual(before);
      trainer.release();
      expect(gpu.pool.liveBytes).toBe(0);
      gpu.pool.trim();
      exact();
      forget(gpu);
    }
    expect(last).toBeGreaterThan(20);
    const held = `each of its ${last} allocations: OutOfMemoryError with the figures, counters exact, a smaller batch succeeds`;
    record({
      section,
      provoked: `a buffer or texture of a training step, refused ${how}`,
      times: last,
      held,
    });
  });

  it('a run, which ends and leaves its state', async () => {
    const gpu = await openOwn();
    const allocations = new Allocations(gpu.device);
    const path = fresh();
    const settings = { ...tiny, maxSteps: 1 };
    const first = await Trainer.prepare(trainerInput(gpu, path, { settings }));
    await first.run();
    first.release();
    gpu.pool.trim();
    const saved = readFileSync(statePath(path));
    const second = await Trainer.prepare(trainerInput(gpu, path, { resume: path }));
    allocations.arm(12, how);
    expect(await failure(second.run())).toBeInstanceOf(OutOfMemoryError);
    expect(readFileSync(statePath(path))).toEqual(saved);
    expect(steps(path)).toHaveLength(1);
    second.release();
    allocations.arm(0, how);
    const smaller = { ...tiny, batchSize: 10, maxSteps: 2 };
    const third = await Trainer.prepare(trainerInput(gpu, fresh(), { settings: smaller }));
    expect(await third.run()).toMatchObject({ reason: 'max-steps' });
    third.release();
    expect(gpu.pool.liveBytes).toBe(0);
  });
});

it('a budget that a step exceeds is told with the figures, and a smaller batch keeps it', async () => {
  const room = async (batchSize: number, budget?: number) => {
    const gpu = await openOwn(budget);
    const settings = { ...tiny, batchSize, epochs: 1, warmupEpochs: 0 };
    const trainer = await Trainer.prepare(trainerInput(gpu, fresh(), { settings }));
    return { gpu, error: await failure(trainer.run()) };
  };
  const [large, small] = [await room(40), await room(4)];
  const budget = (large.gpu.memory.peakBytes + small.gpu.memory.peakBytes) / 2;
  const short = await room(40, budget);
  expect(short.error).toBeInstanceOf(OutOfMemoryError);
  expect((short.error as Error).message).toMatch(
    /^\[[^\]]+\] out of memory: wanted .+, live .+ of a budget of .+, peak .+\. A smaller batch size needs less\.$/,
  );
  expect(short.gpu.memory.peakBytes).toBeLessThanOrEqual(budget);
  expect((await room(4, budget)).error).toBeNull();
});

it('what waits to run keeps its buffers when memory is short', async () => {
  const gpu = await openOwn(7_000_000);
  const sum = Tensor.zeros(gpu, [500_000]);
  const part = Tensor.from(gpu, new Float32Array(500_000).fill(3));
  gpu.copy(part, sum);
  part.release(); // free, and an operand of a copy that was not submitted
  const large = Tensor.zeros(gpu, [700_000]);
  expect((await sum.toFloat32()).every((x) => x === 3)).toBe(true);
  large.release();
});
