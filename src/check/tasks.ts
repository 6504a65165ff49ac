/** The checks of `node dist/check.js`, and how one of them is run. */
import { describeSample } from '../autograd/sample.js';
import type { Gpu } from '../gpu/gpu.js';
import { ops } from '../ops/index.js';
import { attentionTrials, checkAttention, describeAttention } from './attention.js';
import type { CheckDevice } from './device.js';
import { worksInHalf } from './expectation.js';
import { checkSample, type Finding } from './ops.js';
import { checkEveryProduct, describeTrial, productTrials } from './product.js';

export interface Task {
  readonly op: string;
  readonly shape: string;
  /** The tensors are f16; only adapters with shader-f16 have kernels for them. */
  readonly f16: boolean;
  run(gpu: Gpu): Promise<Finding[]>;
}

export interface Row extends Finding {
  readonly op: string;
  readonly shape: string;
}

export const tasks: readonly Task[] = [
  ...productTrials.map((trial) => ({
    op: 'product',
    shape: describeTrial(trial),
    f16: trial.narrow === true,
    run: (gpu: Gpu) => checkEveryProduct(gpu, trial),
  })),
  ...attentionTrials.map((trial) => ({
    op: 'attention passes',
    shape: describeAttention(trial),
    f16: trial.f16 === true,
    run: (gpu: Gpu) => checkAttention(gpu, trial),
  })),
  ...ops.flatMap((op) =>
    op.samples.flatMap((sample) =>
      (worksInHalf(op) ? [false, true] : [false]).map((f16) => ({
        op: op.name,
        shape: `${describeSample(op, sample)}${f16 ? ' f16' : ''}`,
        f16,
        run: (gpu: Gpu) => checkSample(gpu, op, sample, f16),
      })),
    ),
  ),
];

/** Runs one task. An error, such as a kernel that does not compile, is a finding like any other, of variant `-`. */
export async function runTask(device: CheckDevice, { op, shape, run }: Task): Promise<Row[]> {
  const failed = (error: unknown): Row => {
    const problems = [error instanceof Error ? error.message : String(error)];
    return { op, shape, variant: '-', worst: Number.NaN, digest: '', problems };
  };
  const rows = await run(device.gpu).then(
    (found) => found.map((finding): Row => ({ op, shape, ...finding })),
    (error: unknown) => [failed(error)],
  );
  try {
    await device.settle();
  } catch (error) {
    // An error may be reported after the task has read all that it wanted.
    if (!rows.some(({ variant }) => variant === '-')) rows.push(failed(error));
  }
  return rows;
}
