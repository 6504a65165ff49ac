#!/usr/bin/env node
/** `node dist/check.js`: whether this adapter computes what it should, by every kernel that it can run. */
import { CheckDevice } from '../check/device.js';
import { lacks, type Row, runTask, type Task, tasks } from '../check/tasks.js';
import { table } from '../core/table.js';
import { adapterOption, commandLine } from './arguments.js';
import { demandPlace, writeJson } from './files.js';
import { main, UsageError } from './main.js';

const usage = `node dist/check.js [flags]

Runs every op on small inputs, forward and backward, by every kernel that this adapter can run, every tile of the
matrix products and every block of attention, and compares with float64 on the host. Ends with 1 where anything is wrong.
An adapter without shader-f16 has no tensors of f16: their checks are left out, and counted.`;

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
  adapter: adapterOption,
} as const;

interface Parsed {
  readonly filter?: string;
  readonly json?: string;
  readonly adapter?: string;
}

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

interface LeftOut {
  readonly op: string;
  readonly shape: string;
  readonly reason: string;
}

/** `30 left out: no shader-f16 (10 of gelu, 20 of linear)`, a line for each reason. */
function sentences(leftOut: readonly LeftOut[]): string[] {
  return [...new Set(leftOut.map(({ reason }) => reason))].map((reason) => {
    const all = leftOut.filter((it) => it.reason === reason);
    const names = [...new Set(all.map(({ op }) => op))];
    const counts = names.map((name) => `${all.filter(({ op }) => op === name).length} of ${name}`);
    return `${all.length} left out: ${reason} (${counts.join(', ')})`;
  });
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed;
  const chosen = wanted(parsed.filter ?? '');
  if (parsed.json) demandPlace('json', parsed.json);
  const device = await CheckDevice.open({ adapter: parsed.adapter });
  const { info } = device.gpu;
  console.log(`${info.name}; ${info.driver}\n`);
  const rows: Row[] = [];
  const leftOut: LeftOut[] = [];
  for (const task of chosen) {
    const reason = lacks(info, task);
    if (reason) {
      leftOut.push({ op: task.op, shape: task.shape, reason });
      continue;
    }
    const found = await runTask(device, task);
    rows.push(...found);
    for (const { op, shape, variant, problems } of found)
      for (const problem of problems) console.log(`WRONG ${op} ${shape}, ${variant}: ${problem}`);
  }
  const wrong = rows.filter(({ problems }) => problems.length > 0).length;
  console.log(
    [summary(rows), '', `${rows.length} checked, ${wrong} wrong`, ...sentences(leftOut)].join('\n'),
  );
  if (parsed.json) {
    const { name, driver, subgroupMatrix, subgroupSizes } = info;
    const adapter = { name, driver, subgroupMatrix, subgroupSizes };
    writeJson(parsed.json, { adapter, rows, leftOut });
  }
  return wrong === 0 ? 0 : 1;
});
