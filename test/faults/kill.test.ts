/** kill -9 of a whole trainer, many times: the run can always be continued, and no saved step is lost. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Counter } from '../../src/core/rng.js';
import { findState } from '../../src/runs/state_files.js';
import { atOnce, printed, sleep, small, start, withBuild } from './commands.js';
import { LONG, record, scratch, times } from './common.js';
import { statePath, steps } from './run.js';

withBuild();
const folder = scratch('kill');

/** An epoch is one step, and a state is saved after each. */
const run = [...small, ...'--limit-train 20 --epochs 100000 --eval-interval 100000 --json'.split(' ')];
const stepped = /"event":"step".*?"step":(\d+)/g;

/** Number of saved steps; 0 if there is no state. */
function savedSteps(path: string, what: string): number {
  if (!existsSync(statePath(path))) return 0;
  const { path: found, file, damaged } = findState(path);
  expect([found, damaged], what).toEqual([statePath(path), []]);
  return Number(file.metadata.step);
}

/**
 * Starts or resumes the run, kills it at a random moment (a quarter of them before its first step) and checks its folder. A
 * step is logged before it is saved, so only the last logged step may be lost.
 */
async function killOnce(path: string, draw: Counter, what: string): Promise<void> {
  const before = savedSteps(path, what);
  const { child, ended } = start([...(before > 0 ? ['--resume', path, '--json'] : run), '--output', path]);
  if (draw.uniform() < 0.25) await sleep(draw.uniform());
  else await printed(child, /"event":"step"/).then(() => sleep(0.3 * draw.uniform()));
  child.kill('SIGKILL');
  const { code, out, err } = await ended;
  expect({ code, err }, what).toEqual({ code: 137, err: '' });
  const told = Number([...out.matchAll(stepped)].at(-1)?.[1] ?? before);
  const saved = savedSteps(path, what);
  expect([Math.max(before, told - 1), told], what).toContain(saved);
}

it('of a trainer that saves a state at every step', { timeout: LONG }, async () => {
  const [chains, kills] = [2, times(3, 100)];
  await atOnce(chains, chains, async (chain) => {
    const path = join(folder, `chain-${chain}`);
    const draw = new Counter(17, chain);
    for (let i = 0; i < kills; i++) await killOnce(path, draw, `chain ${chain}, kill ${i}`);
    const last = savedSteps(path, 'at the end') + 5;
    const end = await start(['--resume', path, '--max-steps', `${last}`, '--quiet']).ended;
    expect(end).toMatchObject({ code: 0, err: '' });
    expect(steps(path).map(({ step }) => step)).toEqual(Array.from({ length: last }, (_, i) => i + 1));
  });
  record({
    section: 'Saving states',
    provoked: 'kill -9 at a random moment of a whole trainer that saves a state at every step',
    times: chains * kills,
    held: 'the newest state is whole, of the last step told or the one before it, and continued from; steps.jsonl has every step once',
  });
});
