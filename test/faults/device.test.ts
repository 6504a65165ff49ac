/** A lost device is named within two seconds, whenever it is lost. No false step is logged, and restarts leave no trace. */
// Alone: a run must end within two seconds of a loss.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { DeviceLostError } from '../../src/core/errors.js';
import { Counter } from '../../src/core/rng.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { decodeSafetensors } from '../../src/io/safetensors.js';
import { trainWithRestarts } from '../../src/runs/restarts.js';
import { Trainer } from '../../src/runs/trainer.js';
import { openGpu } from '../gpu.js';
import { LONG, record, scratch, times } from './common.js';
import { loseAt, type Phase, phases } from './loss.js';
import { results, statePath, steps, trainerInput } from './run.js';

const folder = scratch('device');
const section = 'A device that is lost';

const failure = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => null,
    (error: unknown) => error,
  );

let whole: ReturnType<typeof results>;
/** The number of moments of each phase in the undisturbed run. */
let moments: Map<Phase, number>;
beforeAll(async () => {
  const gpu = await openGpu();
  const path = join(folder, 'whole');
  const trainer = await Trainer.prepare(trainerInput(gpu, path));
  const never = phases.map((phase) => [phase, loseAt(gpu, trainer, phase, 0)] as const);
  await trainer.run();
  gpu.close();
  whole = results(path);
  moments = new Map(never.map(([phase, { seen }]) => [phase, seen]));
});

describe('lost', () => {
  const count = times(2, 20);
  const draw = new Counter(11, 7);

  it.each(phases)('in %s', { timeout: LONG }, async (phase) => {
    for (let i = 0; i < count; i++) {
      const path = join(folder, `${phase}-${i}`);
      const gpu = await openGpu();
      let asked = 0;
      const input = trainerInput(gpu, path, { onStep: (step) => (asked = step) });
      const trainer = await Trainer.prepare(input);
      const nth = 1 + draw.below(moments.get(phase) as number);
      const lost = loseAt(gpu, trainer, phase, nth);
      const error = await failure(trainer.run());
      const seconds = (performance.now() - lost.at) / 1000;
      expect(error).toBeInstanceOf(DeviceLostError);
      expect((error as Error).message).toMatch(
        /^The GPU device was lost \(.+\); nothing more can run on it\.$/,
      );
      expect(seconds).toBeLessThan(2);
      const logged = steps(path);
      expect(logged.length).toBeLessThanOrEqual(asked);
      expect(logged).toEqual(whole.steps.slice(0, logged.length));
      if (existsSync(statePath(path))) decodeSafetensors(statePath(path), readFileSync(statePath(path)));
      expect(readdirSync(join(path, 'checkpoints')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      gpu.close();
    }
    const held =
      'DeviceLostError within 2 s; every logged step is one of the undisturbed run; the saved state is whole, no temporary file is left';
    record({ section, provoked: `device.destroy() at a random moment of: ${phase}`, times: count, held });
  });
});

describe('with --restarts', () => {
  /** Trains and loses a device at each of the given moments; every restart opens the next device. */
  async function disturbed(name: string, losses: readonly (readonly [Phase, number])[], restarts: number) {
    const path = join(folder, name);
    const notes: string[] = [];
    const reporter = { start() {}, step() {}, epoch() {}, note: (note: string) => notes.push(note) };
    const devices: Gpu[] = [];
    const next = async () => {
      const gpu = await openGpu();
      devices.push(gpu);
      onTestFinished(() => gpu.close());
      return gpu;
    };
    let trainers = 0;
    const ended = await failure(
      trainWithRestarts({
        ...trainerInput(await next(), path, { reporter: reporter as never }),
        restarts,
        reopen: next,
        environmentOf: () => ({}),
        prepared: (trainer) => {
          const loss = losses[trainers++];
          if (loss) loseAt(devices.at(-1) as Gpu, trainer, ...loss);
        },
      }),
    );
    return { path, notes, ended, trainers };
  }

  it('three losses leave no trace in weights and logs', { timeout: LONG }, async () => {
    const draw = new Counter(12, 7);
    const count = times(1, 10);
    for (let i = 0; i < count; i++) {
      const at = (phase: Phase, most: number) => [phase, 1 + draw.below(most)] as const;
      // The first loss is before anything is saved, one in a later evaluation, one at a random moment.
      const losses = [at('backward', 12), at('evaluation', 12), at(phases[draw.below(5)] as Phase, 8)];
      const { path, notes, ended, trainers } = await disturbed(`restarts-${i}`, losses, 3);
      expect(ended).toBeNull();
      expect(trainers).toBe(4);
      expect(notes.filter((note) => note.includes('Restart'))).toEqual(
        [1, 2, 3].map((n) => expect.stringMatching(`was lost .* Restart ${n} of 3 on a new device\\.$`)),
      );
      expect(results(path)).toEqual(whole);
    }
    const held =
      'weights, moments, average, steps.jsonl and history.json bit-identical to the undisturbed run';
    record({ section, provoked: 'three losses in one run with --restarts 3', times: count, held });
  });

  it('the loss after the last restart ends the run', async () => {
    const losses = [
      ['forward', 1],
      ['forward', 2],
    ] as const;
    const { ended, notes } = await disturbed('too-often', losses, 1);
    expect(ended).toBeInstanceOf(DeviceLostError);
    expect((ended as Error).message).toMatch(
      /nothing more can run on it\. All restarts are used up \(--restarts 1\)\.$/,
    );
    expect(notes).toHaveLength(1);
  });

  it('a device that we close ourselves is none to restart on', async () => {
    const gpu = await openGpu();
    const input = trainerInput(gpu, join(folder, 'closed'), { onStep: () => gpu.close() });
    let reopened = 0;
    const reopen = () => {
      reopened++;
      return openGpu();
    };
    const ended = await failure(
      trainWithRestarts({ ...input, restarts: 3, reopen, environmentOf: () => ({}) }),
    );
    expect(ended).toMatchObject({ closed: true, message: expect.stringContaining('(it was closed)') });
    expect(reopened).toBe(0);
  });
});
