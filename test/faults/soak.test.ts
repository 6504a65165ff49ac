/** Long runs, many runs, and runs with frequent garbage collection: none crashes, and none grows. */
// Alone: it measures the memory of processes and runs many at once.
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { Trainer } from '../../src/runs/trainer.js';
import { Tensor } from '../../src/tensor/tensor.js';
import { withGpu } from '../gpu.js';
import { images } from '../images.js';
import { atOnce, type Ended, sleep, small, start, withBuild } from './commands.js';
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

it('what was read is freed', async () => {
  const gpu = gpuOf();
  const tensor = Tensor.zeros(gpu, [256]);
  const read = new WeakRef(await gpu.read(tensor));
  await sleep(0.01); // code that awaits it has returned
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  expect(read.deref()).toBeUndefined();
  tensor.release();
});

const steps = times(300, 10_000);
/** Steps after which memory must no longer change. */
const settled = 100;

describe.concurrent('memory stays what it is after the first steps', () => {
  it('on the device', { timeout: LONG }, async () => {
    const gpu = gpuOf();
    const seen = new Set<string>();
    const onStep = (step: number) => {
      if (step >= settled) seen.add(`${gpu.pool.liveBytes} live, ${gpu.memory.usedBytes} used`);
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
    trainer.release();
    expect([...seen]).toHaveLength(1);
    record({
      section,
      provoked: 'steps of one run',
      times: steps,
      held: 'live bytes on the device constant',
    });
  });

  it('in a process of its own, but for 32 MB', { timeout: LONG }, async () => {
    const length = ['--epochs', '1000', '--max-steps', `${steps}`, '--eval-interval', '1000', '--json'];
    const node = ['--import', join(import.meta.dirname, 'resident_each_line.mjs')];
    const end = await start([...small, ...length, '--output', join(folder, 'process')], node).ended;
    expect(end).toMatchObject({ code: 0, err: '' });
    const each = [...end.out.matchAll(/"event":"step".*?"step":(\d+),.*\n.*"bytes":(\d+)/g)];
    expect(each).toHaveLength(steps);
    const resident = each.slice(settled - 1).map(([, , bytes]) => Number(bytes) / 2 ** 20);
    const growth = Math.max(...resident) - (resident[0] as number);
    expect(growth).toBeLessThan(32);
    const held = `at no step 32 MB more in memory than at step ${settled}`;
    record({
      section,
      provoked: 'steps of a run as a process that saves a state every 10 steps',
      times: steps,
      held,
    });
  });
});
