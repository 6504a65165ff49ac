#!/usr/bin/env node
/** `node dist/check.js`: whether this adapter computes what it should, by every kernel that it can run. */
import { writeFileSync } from 'node:fs';
import { describeSample } from '../bench/inputs.js';
import { attentionTrials, checkAttention, describeAttention } from '../check/attention.js';
import { type AnyOp, worksInHalf } from '../check/expectation.js';
import { checkSample, type Finding } from '../check/ops.js';
import { checkEveryProduct, describeTrial, productTrials } from '../check/product.js';
import { table } from '../core/table.js';
import { Gpu } from '../gpu/gpu.js';
import { ops } from '../ops/index.js';
import { commandLine } from './arguments.js';
import { main, UsageError } from './main.js';

const usage = `node dist/check.js [flags]

Runs every op on small inputs, forward and backward, by every kernel that this adapter can run, every tile of the
matrix products and every block of attention, and compares with float64 on the host. Ends with 1 where anything is wrong.`;

const options = {
  filter: {
    type: 'string',
    requiresArg: true,
    describe: 'only what this regular expression finds in "op shape"',
  },
  json: {
    type: 'string',
    requiresArg: true,
    describe:
      'write the results to this file, with a digest of the outputs that shows whether two machines or versions agree to the bit',
  },
  adapter: { type: 'string', requiresArg: true, describe: "a part of an adapter's name" },
} as const;

interface Parsed {
  readonly filter?: string;
  readonly json?: string;
  readonly adapter?: string;
}

interface Task {
  readonly op: string;
  readonly shape: string;
  run(gpu: Gpu): Promise<Finding[]>;
}

interface Row extends Finding {
  readonly op: string;
  readonly shape: string;
}

const tasks: readonly Task[] = [
  ...productTrials.map((trial) => ({
    op: 'product',
    shape: describeTrial(trial),
    run: (gpu: Gpu) => checkEveryProduct(gpu, trial),
  })),
  ...attentionTrials.map((trial) => ({
    op: 'attention passes',
    shape: describeAttention(trial),
    run: (gpu: Gpu) => checkAttention(gpu, trial),
  })),
  ...(ops as readonly AnyOp[]).flatMap((op) =>
    op.samples.flatMap((sample) =>
      (worksInHalf(op) ? [false, true] : [false]).map((half) => ({
        op: op.name,
        shape: `${describeSample(sample)}${half ? ' f16' : ''}`,
        run: async (gpu: Gpu) =>
          half && !gpu.info.features.has('shader-f16') ? [] : checkSample(gpu, op, sample, half),
      })),
    ),
  ),
];

function wanted(filter: string): Task[] {
  let pattern: RegExp;
  try {
    pattern = new RegExp(filter);
  } catch (error) {
    throw new UsageError(`--filter: ${(error as Error).message}`);
  }
  const found = tasks.filter(({ op, shape }) => pattern.test(`${op} ${shape}`));
  if (found.length === 0) throw new UsageError(`--filter ${filter} finds nothing to check.`);
  return found;
}

/** What a device reports, such as a kernel that does not compile, is a finding like any other. */
async function findings(gpu: Gpu, { op, shape, run }: Task): Promise<Row[]> {
  try {
    return (await run(gpu)).map((finding) => ({ op, shape, ...finding }));
  } catch (error) {
    return [{ op, shape, variant: '-', worst: Number.NaN, digest: '', problems: [(error as Error).message] }];
  }
}

/** A row per op and variant. */
function summary(rows: readonly Row[]): string {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${row.op}\n${row.variant}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return table(
    ['op', 'variant', 'samples', 'wrong', 'worst of tolerance'],
    [...groups].map(([key, all]) => [
      ...(key.split('\n') as [string, string]),
      all.length,
      all.filter(({ problems }) => problems.length > 0).length,
      Math.max(...all.map(({ worst }) => worst)),
    ]),
  );
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed;
  const chosen = wanted(parsed.filter ?? '');
  let gpu = await Gpu.open({ adapter: parsed.adapter });
  console.log(`${gpu.info.name}; ${gpu.info.driver}\n`);
  const rows: Row[] = [];
  for (const task of chosen) {
    const found = await findings(gpu, task);
    rows.push(...found);
    for (const { op, shape, variant, problems } of found)
      for (const problem of problems) console.log(`WRONG ${op} ${shape}, ${variant}: ${problem}`);
    if (found.some(({ variant }) => variant === '-')) {
      gpu.close(); // an error stays with its device
      gpu = await Gpu.open({ adapter: parsed.adapter });
    }
  }
  const wrong = rows.filter(({ problems }) => problems.length > 0).length;
  console.log(`${summary(rows)}\n\n${rows.length} checked, ${wrong} wrong`);
  if (parsed.json) {
    const { name, driver, subgroupMatrix, subgroupSizes } = gpu.info;
    const adapter = { name, driver, subgroupMatrix, subgroupSizes };
    writeFileSync(parsed.json, `${JSON.stringify({ adapter, rows }, null, 1)}\n`);
  }
  return wrong === 0 ? 0 : 1;
});
