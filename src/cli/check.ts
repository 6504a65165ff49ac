#!/usr/bin/env node
/** `node dist/check.js`: compares every kernel that this adapter can run with float64 references. */
import { CheckDevice } from '../check/device.js';
import { lacks } from '../check/expectation.js';
import { pickedModels, stepKernels } from '../check/known_steps.js';
import { picksHead, picksOf, picksText } from '../check/picks.js';
import { type LeftOut, leftOutSentences, summarise } from '../check/summary.js';
import { type Row, runTask, type Task, tasks } from '../check/tasks.js';
import { table } from '../core/table.js';
import { knownAdapters } from '../gpu/known_adapters.js';
import { adapterOption, commandLine } from './arguments.js';
import { demandPlace, writeJson } from './files.js';
import { commandName, main, UsageError } from './main.js';

const usage = `${commandName('check')} [flags]

Runs every op on small inputs, forward and backward, and compares the results with float64 on the host.
Checks every kernel that this adapter can run, every tile size of the matrix products and every block size
of attention. The exit code is 1 if a result is wrong. Checks of f16 tensors are left out, and counted, if
the adapter lacks shader-f16.

With --adapters it checks nothing. It prints which kernels and tiles the training steps of three models
would run on known GPUs, software adapters and browsers, and the sources of their limits.`;

const WRITE_EVERY = 3000; // milliseconds

const options = {
  filter: {
    type: 'string',
    requiresArg: true,
    describe: 'regular expression; only checks whose "op shape" matches are run',
  },
  json: {
    type: 'string',
    requiresArg: true,
    describe:
      'JSON file to write the results to; equal digests in two such files mean that the outputs have the same bits',
  },
  seconds: {
    type: 'number',
    requiresArg: true,
    describe: 'start no further check after so many seconds; checks that were not run are counted',
  },
  adapters: {
    type: 'boolean',
    describe: 'print which kernels known adapters would run, and check nothing; needs no adapter',
  },
  adapter: adapterOption,
} as const;

interface Parsed {
  readonly seconds?: number;
  readonly filter?: string;
  readonly json?: string;
  readonly adapter?: string;
  readonly adapters?: boolean;
}

function wanted(filter: string): Task[] {
  let pattern: RegExp;
  try {
    pattern = new RegExp(filter);
  } catch (error) {
    throw new UsageError(`--filter: ${(error as Error).message}`);
  }
  const found = tasks.filter(({ op, shape }) => pattern.test(`${op} ${shape}`));
  if (found.length === 0) throw new UsageError(`--filter ${filter} matches no check.`);
  return found;
}

/** The results as a table with a row for each op and kernel variant. */
const summary = (rows: readonly Row[]): string =>
  table(
    ['op', 'variant', 'samples', 'wrong', 'worst of tolerance'],
    summarise(rows).map(({ op, variant, samples, wrong, worst }) => [op, variant, samples, wrong, worst]),
  );

/** Prints the picks of every known adapter, and writes them to a file if one is named. */
async function printAdapters({ json, ...others }: Parsed): Promise<void> {
  for (const name of ['filter', 'seconds', 'adapter'] as const)
    if (others[name] !== undefined) throw new UsageError(`--adapters checks nothing: leave out --${name}.`);
  if (json) demandPlace('json', json);
  console.log(`${picksHead}\n`);
  const all = [];
  for (const known of knownAdapters) {
    const steps = (await Promise.all(pickedModels.map((model) => stepKernels(known, model)))).flat();
    const picks = steps.map(picksOf);
    all.push({ ...known, steps: picks });
    console.log(`${picksText(known, picks)}\n`);
  }
  if (json) writeJson(json, all);
}

await main(async () => {
  const parsed = commandLine(usage, options).parseSync() as unknown as Parsed;
  if (parsed.adapters) {
    await printAdapters(parsed);
    return 0;
  }
  const chosen = wanted(parsed.filter ?? '');
  if (parsed.json) demandPlace('json', parsed.json);
  const { seconds } = parsed;
  if (seconds !== undefined && !(seconds > 0)) throw new UsageError('--seconds must be a number above 0.');
  const device = await CheckDevice.open({ adapter: parsed.adapter });
  const { info } = device.gpu;
  console.log(`${info.name}; ${info.driver}\n`);
  const rows: Row[] = [];
  const leftOut: LeftOut[] = [];
  const end = performance.now() + 1000 * (seconds ?? Number.POSITIVE_INFINITY);
  const write = () => {
    const { name, driver, subgroupMatrix, subgroupSizes } = info;
    const adapter = { name, driver, subgroupMatrix, subgroupSizes };
    if (parsed.json) writeJson(parsed.json, { adapter, rows, leftOut });
    written = performance.now();
  };
  let written = performance.now();
  for (const task of chosen) {
    const reason = lacks(info, task) ?? (performance.now() > end ? 'no time left' : null);
    if (reason) {
      leftOut.push({ op: task.op, shape: task.shape, reason });
      continue;
    }
    const found = await runTask(device, task);
    rows.push(...found);
    for (const { op, shape, variant, problems } of found)
      for (const problem of problems) console.log(`WRONG ${op} ${shape}, ${variant}: ${problem}`);
    // Now and then, so that results are kept if the check is stopped.
    if (performance.now() > written + WRITE_EVERY) write();
  }
  const wrong = rows.filter(({ problems }) => problems.length > 0).length;
  console.log(
    [summary(rows), '', `${rows.length} checked, ${wrong} wrong`, ...leftOutSentences(leftOut)].join('\n'),
  );
  write();
  return wrong === 0 ? 0 : 1;
});
