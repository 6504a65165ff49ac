/** The worker of the check: every op against float64 on the visitor's adapter, then a small benchmark. */
import { measureCeilings } from '../bench/ceilings.js';
import { quick } from '../bench/measure.js';
import { benchOps } from '../bench/ops.js';
import { CheckDevice } from '../check/device.js';
import { lacks } from '../check/expectation.js';
import { runTask, type Task, tasks } from '../check/tasks.js';
import { PatchlightError } from '../core/errors.js';
import { Gpu } from '../gpu/gpu.js';
import type { CheckReply, CheckRequest } from './check_messages.js';
import { machineOf } from './machine.js';

const post = (reply: CheckReply): void => self.postMessage(reply);

/**
 * The benchmark: the products and attention of a ViT-Tiny step, by every variant that runs here. A CPU takes seconds for each, so it
 * has one product, by the kernel that it would choose.
 */
const TIMED = { gpu: /^(linear|attention)\b/, cpu: /^linear / };

/** The ops of the registry first, so that a check which is cut short has seen most of them. */
const later = ({ op }: Task): number => (op === 'product' || op === 'attention passes' ? 1 : 0);
const ordered = tasks.toSorted((a, b) => later(a) - later(b));

async function check({ filter, seconds }: CheckRequest): Promise<void> {
  const wanted = ordered.filter(({ op, shape }) => new RegExp(filter).test(`${op} ${shape}`));
  const device = await CheckDevice.open({});
  post({ kind: 'machine', machine: machineOf(device.gpu), total: wanted.length });
  const end = seconds > 0 ? performance.now() + 1000 * seconds : Number.POSITIVE_INFINITY;
  for (const [i, task] of wanted.entries()) {
    const { op, shape } = task;
    const reason = lacks(device.gpu.info, task) ?? (performance.now() > end ? 'no time left' : null);
    if (reason) post({ kind: 'leftOut', done: i + 1, leftOut: { op, shape, reason } });
    else post({ kind: 'checked', done: i + 1, op, rows: await runTask(device, task) });
  }
  device.close();
}

async function bench(): Promise<void> {
  post({ kind: 'timing', sentence: 'Measuring memory and arithmetic.' });
  const gpu = await Gpu.open();
  const ceilings = await measureCeilings(gpu, quick);
  post({ kind: 'ceilings', ceilings });
  post({ kind: 'timing', sentence: 'Timing the products and attention of a ViT-Tiny step.' });
  const { software } = gpu.info;
  await benchOps(gpu, {
    ...{ effort: quick, ceilings, variants: !software, half: false },
    wanted: (name) => TIMED[software ? 'cpu' : 'gpu'].test(name),
    onRow: (row) => post({ kind: 'timed', row }),
  });
  gpu.close();
}

self.onmessage = async ({ data }: MessageEvent<CheckRequest>) => {
  try {
    await check(data);
    await bench();
    post({ kind: 'ended' });
  } catch (error) {
    const ours = error instanceof PatchlightError;
    post({ kind: 'failed', sentence: ours ? error.message : `The check has a fault: ${error}` });
    if (!ours) reportError(error);
  }
};
