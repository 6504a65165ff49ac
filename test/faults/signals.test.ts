/** Signals, closed pipes and unexpected errors: a run ends soon, with the right exit code, and can be resumed. */
// Alone: a run must end within a time after a signal.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { Counter } from '../../src/core/rng.js';
import type { Gpu } from '../../src/gpu/gpu.js';
import { Pace } from '../../src/gpu/pace.js';
import { findState } from '../../src/runs/state_files.js';
import { Trainer } from '../../src/runs/trainer.js';
import { withGpu } from '../gpu.js';
import { atOnce, printed, sleep, small, start, withBuild } from './commands.js';
import { LONG, record, scratch, times } from './common.js';
import { results, silent, statePath, trainerInput } from './run.js';

withBuild();
const gpuOf = withGpu();
const folder = scratch('signals');
const section = 'Stopping and going on';

const run = [...small, '--epochs', '6', '--json'];
const stepped = /"event":"step"/;
const files = (path: string) => readdirSync(path, { recursive: true, encoding: 'utf8' });

describe('a signal', () => {
  it('at random moments: the run ends within 10 s, and continued is the undisturbed one', {
    timeout: LONG,
  }, async () => {
    const whole = join(folder, 'whole');
    const first = start([...run, '--output', whole]);
    const began = performance.now();
    await printed(first.child, stepped);
    const preparing = (performance.now() - began) / 1000;
    const undisturbed = await first.ended;
    expect(undisturbed).toMatchObject({ code: 0, err: '' });
    const draw = new Counter(3, 1);
    const count = times(4, 50);
    const seen = { unsaved: 0, saved: 0, done: 0 };
    const disturb = async (i: number) => {
      const path = join(folder, `stopped-${i}`);
      const [signal, code] = i % 2 ? (['SIGINT', 130] as const) : (['SIGTERM', 143] as const);
      const moment = draw.uniform();
      const { child, ended } = start([...run, '--output', path]);
      // A quarter of the moments are before the first step, the others after it.
      const early = i % 4 === 3;
      if (!early) await printed(child, stepped);
      await sleep(moment * (early ? preparing : undisturbed.seconds - preparing));
      child.kill(signal);
      const at = performance.now();
      const end = await ended;
      expect((performance.now() - at) / 1000).toBeLessThan(10);
      expect(end.err).toBe('');
      const saved = existsSync(statePath(path));
      if (end.code === 0) seen.done++;
      else {
        expect(end.code).toBe(code);
        seen[saved ? 'saved' : 'unsaved']++;
        const again = saved ? ['--resume', path, '--quiet'] : [...run, '--output', path];
        expect(await start(again).ended).toMatchObject({ code: 0, err: '' });
      }
      expect(results(path)).toEqual(results(whole));
      expect(files(path).filter((name) => name.endsWith('.tmp'))).toEqual([]);
    };
    await atOnce(2, count, disturb);
    const held = `exit 130 or 143 within 10 s (${seen.saved} saved, ${seen.unsaved} with nothing to save yet, ${seen.done} done before); continued: bit-identical`;
    record({ section, provoked: 'SIGINT or SIGTERM to a run at a random moment', times: count, held });
  });

  it('in the middle of a long step: it ends within 10 s, with a state', { timeout: LONG }, async () => {
    const path = join(folder, 'long');
    const batch = times(16, 64); // images; 64 take 3 s and more a step on two cores
    const vit =
      '--dataset shapes10 --limit-train 640 --embed-dim 192 --depth 12 --num-heads 3 --patch-size 4 --json --log-interval 2';
    const { child, ended } = start([...vit.split(' '), '--batch-size', `${batch}`, '--output', path]);
    await printed(child, stepped);
    await sleep(0.2);
    child.kill('SIGTERM');
    const at = performance.now();
    expect(await ended).toMatchObject({ code: 143, err: '' });
    expect((performance.now() - at) / 1000).toBeLessThan(10);
    expect(findState(path)).toMatchObject({ path: statePath(path), damaged: [] });
    const held = 'exit 143 within 10 s, the state is whole';
    record({ section, provoked: `SIGTERM in a step of ViT-Tiny, batch ${batch}`, times: 1, held });
  });

  it.each([
    ['half a second', 0.5, [0, 1, 2, 2, 2, 2]],
    ['three seconds', 3, [0, 0, 0, 0, 0, 0]],
  ])('does not have to wait for many steps: those of %s', async (_, seconds, expected) => {
    vi.useFakeTimers();
    let [open, end] = [0, 0];
    const submitted = async () => {
      open++;
      end = Math.max(end, performance.now()) + 1000 * seconds;
      await new Promise((resolve) => setTimeout(resolve, end - performance.now()));
      open--;
    };
    const device = { flush() {}, granted: async () => {}, submitted, settle: (done: unknown) => done };
    const pace = new Pace(device as unknown as Gpu);
    const inFlight: number[] = [];
    const steps = async () => {
      for (let step = 0; step < expected.length; step++) {
        await pace.next();
        inFlight.push(open);
      }
    };
    try {
      await Promise.all([steps(), vi.advanceTimersByTimeAsync(60_000)]);
    } finally {
      vi.useRealTimers(); // the cleanup after a test waits for the device by real timers
    }
    expect(inFlight).toEqual(expected);
  });

  it('before the first step ends the run at once, and the folder can be used again', async () => {
    const path = join(folder, 'early');
    const { child, ended } = start([...small, '--epochs', '1', '--output', path]);
    await printed(child, /into /);
    const at = performance.now();
    child.kill('SIGTERM');
    expect(await ended).toMatchObject({ code: 143, err: '' });
    expect(performance.now() - at).toBeLessThan(1000);
    expect(existsSync(statePath(path))).toBe(false);
    expect(await start([...small, '--max-steps', '1', '--quiet', '--output', path]).ended).toMatchObject({
      code: 0,
    });
  });

  it('that comes a second time ends it at once', async () => {
    const path = join(folder, 'twice');
    // Steps of a second and more: one is under way.
    const slow =
      '--dataset shapes10 --embed-dim 192 --depth 4 --num-heads 3 --batch-size 128 --json --log-interval 1';
    const { child, ended } = start([...slow.split(' '), '--output', path]);
    await printed(child, stepped);
    child.kill('SIGINT');
    await sleep(1.1);
    const at = performance.now();
    child.kill('SIGINT');
    expect((await ended).code).toBe(130);
    expect(performance.now() - at).toBeLessThan(2000);
    expect(existsSync(statePath(path))).toBe(false);
  });
});

it('a reader that has gone ends nothing', async () => {
  const path = join(folder, 'piped');
  const { child, ended } = start([...small, '--epochs', '2', '--json', '--output', path]);
  await printed(child, stepped);
  child.stdout?.destroy();
  expect(await ended).toMatchObject({ code: 0, err: '' });
  expect(existsSync(join(path, 'checkpoints', 'final.safetensors'))).toBe(true);
});

it('an error that nobody expected saves nothing over the state', async () => {
  const path = join(folder, 'broken');
  const first = await Trainer.prepare(
    trainerInput(gpuOf(), path, {
      onStep: (step) => {
        if (step === 2) first.stopRequested = true;
      },
    }),
  );
  await first.run();
  const saved = readFileSync(statePath(path));
  const step = () => {
    throw new RangeError('on purpose');
  };
  const second = await Trainer.prepare(
    trainerInput(gpuOf(), path, { resume: path, reporter: { ...silent, step } }),
  );
  await expect(second.run()).rejects.toThrow('on purpose');
  expect(readFileSync(statePath(path))).toEqual(saved);
});
