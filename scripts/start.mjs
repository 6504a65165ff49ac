// `npm start [-- flags of train]`: from a fresh clone to a training run that ends in a report.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { isMain, root, runMain, Trouble } from './common.mjs';
import { setup } from './setup.mjs';

const OFFICIAL = 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz';
const FOLDER = 'cifar-10-batches-bin';
const BATCHES = [
  'data_batch_1',
  'data_batch_2',
  'data_batch_3',
  'data_batch_4',
  'data_batch_5',
  'test_batch',
];

/** The value of the flag `name`; the last one counts, as in the command. '' if it has no value, undefined if it is absent. */
function flag(args, name) {
  let value;
  for (const [i, arg] of args.entries()) {
    const [key, ...rest] = arg.split('=');
    if (key.replaceAll('_', '-') === name) value = rest.length > 0 ? rest.join('=') : (args[i + 1] ?? '');
  }
  return value;
}

/** With one of these flags nothing is trained. */
const ASKING = ['--help', '--version', '--list-adapters'];
/** These flags bring settings of their own: of a saved run, or from a file. */
const WHOLE = ['--resume', '--config'];

/**
 * The arguments of `train`, from those of `npm start`. Without a preset, a config file or a run to resume, the preset is
 * quickstart, and the run ends with a report. Without a data set, `chooseDataset` chooses one.
 */
export async function trainArguments(args, chooseDataset) {
  const given = (...names) => names.some((name) => flag(args, name) !== undefined);
  if (given(...ASKING, ...WHOLE)) return args;
  const preset = given('--preset') ? [] : ['--preset', 'quickstart'];
  const dataset = given('--dataset') ? [] : ['--dataset', await chooseDataset()];
  return ['--report', ...preset, ...dataset, ...args];
}

/** Printed above the help text of `train`. */
const HELP = `npm start [-- flags]

The same as node dist/train.js with the flags below, after installing and building what is missing. Without --preset, --config
and --resume it trains --preset quickstart and ends with a report; without --dataset it takes cifar10 if that is there or can be
fetched, else shapes10.
`;

async function reachable(address) {
  try {
    const response = await fetch(address, { method: 'HEAD', signal: AbortSignal.timeout(3000) });
    return response.ok;
  } catch {
    return false;
  }
}

/** CIFAR-10 if it is here or can be downloaded, else shapes10, which needs no files. */
async function chooseDataset(args) {
  const folder = flag(args, '--data-dir') || process.env.PATCHLIGHT_DATA || join(root, 'data');
  if (BATCHES.every((name) => existsSync(join(folder, FOLDER, `${name}.bin`)))) return 'cifar10';
  if (await reachable(OFFICIAL)) return 'cifar10';
  console.error(
    `CIFAR-10 is neither in ${join(folder, FOLDER)} nor within reach: training on shapes10, drawn here.`,
  );
  return 'shapes10';
}

/** A signal sent to npm ends npm and its shell but does not reach this process, so it ends itself when its parent is gone. */
function endWithNpm() {
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return;
  const shell = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500).unref();
}

async function start() {
  setup();
  await build();
  const command = join(root, 'dist/train.js');
  if (!existsSync(command)) throw new Trouble('There is no src/cli/train.ts to run.');
  const args = process.argv.slice(2);
  if (flag(args, '--help') !== undefined) console.log(HELP);
  const complete = await trainArguments(args, () => chooseDataset(args));
  endWithNpm();
  // Imported into this process, so that the command has the terminal, the signals and the exit code.
  process.argv = [process.execPath, command, ...complete];
  await import(pathToFileURL(command).href);
}

if (isMain(import.meta.url)) await runMain(start);
