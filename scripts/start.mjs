// `npm start [-- flags of train]`: from a fresh clone to a training run that ends in a report.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from './build.mjs';
import { root, runMain, Trouble } from './common.mjs';
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

/** The value of a flag given as `--name value` or `--name=value`, in kebab or snake case. */
function flag(args, name) {
  for (const [i, arg] of args.entries()) {
    const [key, ...value] = arg.split('=');
    if (key.replaceAll('_', '-') === name) return value.length > 0 ? value.join('=') : (args[i + 1] ?? '');
  }
  return undefined;
}

async function reachable(address) {
  try {
    const response = await fetch(address, { method: 'HEAD', signal: AbortSignal.timeout(3000) });
    return response.ok;
  } catch {
    return false;
  }
}

/** CIFAR-10 where it is or can be had; else the data set that the project draws itself. */
async function chooseDataset(args) {
  const folder = flag(args, '--data-dir') ?? process.env.PATCHLIGHT_DATA ?? join(root, 'data');
  if (BATCHES.every((name) => existsSync(join(folder, FOLDER, `${name}.bin`)))) return 'cifar10';
  if (await reachable(OFFICIAL)) return 'cifar10';
  console.error(
    `CIFAR-10 is neither in ${join(folder, FOLDER)} nor within reach: training on shapes10, drawn here.`,
  );
  return 'shapes10';
}

/** A signal sent to npm ends npm and its shell but does not reach us: their end is the signal. */
function endWithNpm() {
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return;
  const shell = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === shell) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, 500).unref();
}

await runMain(async () => {
  setup();
  await build();
  const command = join(root, 'dist/train.js');
  if (!existsSync(command)) throw new Trouble('There is no src/cli/train.ts to run.');
  const args = process.argv.slice(2);
  const chosen = ['--dataset', '--config', '--resume', '--help', '--version', '--list-adapters'];
  const dataset = chosen.some((name) => flag(args, name) !== undefined)
    ? []
    : ['--dataset', await chooseDataset(args)];
  const preset = flag(args, '--preset') === undefined ? ['--preset', 'quickstart'] : [];
  endWithNpm();
  // In this very process: the terminal, signals and the exit code are then the command's own.
  process.argv = [process.execPath, command, ...preset, ...dataset, ...args];
  await import(pathToFileURL(command).href);
});
