/** Runs that are long, many, or short of garbage: none crashes, and none grows. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Trainer } from '../../src/train/trainer.js';
import { withGpu } from '../gpu.js';
import { images } from '../images.js';
import { atOnce, type Ended, small, start, withBuild } from './commands.js';
import { LONG, record, scratch, times } from './common.js';
import { tiny, trainerInput } from './run.js';

withBuild();
const gpuOf = withGpu();
const folder = scratch('soak');
const section = 'Long runs, many runs';

it('with a garbage collection at every step a run exits 0', { timeout: LONG }, async () => {
  const steps = times(100, 1000);
  const length = ['--epochs', '1000', '--max-steps', `${steps}`, '--eval-interval', '1000', '--json'];
  const node = ['--expose-gc', '--import', join(import.meta.dirname, 'gc_each_line.mjs')];
  const end = await start([...small, ...length, '--output', join(folder, 'gc')], node).ended;
  expect(end).toMatchObject({ code: 0, err: '' });
  expect(end.out.match(/"event":"step"/g)).toHaveLength(steps);
  record({ section, provoked: 'gc() at every step, steps of one run', times: steps, held: 'exit 0' });
});

it('many runs at once exit 0', { timeout: LONG }, async () => {
  const [count, most] = [times(6, 100), times(3, 6)];
  const ends: Ended[] = [];
  await atOnce(most, count, async (i) => {
    const output = join(folder, `many-${i}`);
    ends.push(await start([...small, '--max-steps', '3', '--quiet', '--output', output]).ended);
  });
  expect(ends.filter(({ code, err }) => code !== 0 || err !== '')).toEqual([]);
  expect(ends).toHaveLength(count);
  record({ section, provoked: `a whole run as a process, ${most} at once`, times: count, held: 'exit 0' });
});

it('memory stays what it is after the first steps', { timeout: LONG }, async () => {
  const gpu = gpuOf();
  const steps = times(300, 10_000);
  const settled = Math.min(100, steps / 3);
  const megabytes = () => process.memoryUsage.rss() / 2 ** 20;
  const live: number[] = [];
  const used: number[] = [];
  let before = 0;
  const onStep = (step: number) => {
    if (step === settled) before = megabytes();
    if (step < settled) return;
    live.push(gpu.pool.liveBytes);
    used.push(gpu.memory.usedBytes);
  };
  const settings = {
    ...tiny,
    epochs: 1000,
    maxSteps: steps,
    evalInterval: 1000,
    logInterval: 10,
    emaDecay: 0,
  };
  const dataset = images({ train: 400, test: 20 });
  const trainer = await Trainer.prepare(
    trainerInput(gpu, join(folder, 'long'), { settings, dataset, onStep }),
  );
  await trainer.run();
  const growth = megabytes() - before;
  trainer.release();
  expect(new Set(live).size).toBe(1);
  expect(new Set(used).size).toBe(1);
  expect(growth).toBeLessThan(32);
  const held = `live bytes on the device constant; the process grew by less than 32 MB`;
  record({ section, provoked: 'steps of one run', times: steps, held });
});
