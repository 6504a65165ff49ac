/** The paths of run directories: which folders contain a run, and the folder of a new one. */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import { readJson } from '../io/read.js';

/** The log of a run's steps, in its directory. */
export const STEPS_FILE = 'steps.jsonl';

/** Throws a ConfigError if the folder contains a run, or a config.json that a run would overwrite. */
export function refuseTaken(path: string): void {
  if (holdsRun(path))
    throw new ConfigError(
      `${path} already holds a run; continue it with --resume ${path} or give another --output.`,
    );
  const config = join(path, 'config.json');
  if (existsSync(config) && !isRunConfig(config))
    throw new ConfigError(`${config} is not the config.json of a run; give another --output.`);
}

/** True if a run has left logged steps, weights or a state in the folder. */
function holdsRun(path: string): boolean {
  const log = statIfThere(join(path, STEPS_FILE));
  return (log?.size ?? 0) > 0 || hasSaved(path);
}

/** True if a run has saved weights or a state in the folder. */
export function hasSaved(path: string): boolean {
  const checkpoints = join(path, 'checkpoints');
  const isFolder = statIfThere(checkpoints)?.isDirectory() ?? false;
  return isFolder && readdirSync(checkpoints).some((name) => name.endsWith('.safetensors'));
}

function isRunConfig(path: string): boolean {
  try {
    const config = readJson(path);
    return isObject(config) && isObject(config.settings);
  } catch {
    return false;
  }
}

/** The status of a file; null if there is none, also if the path leads through a file or a link to itself. */
function statIfThere(path: string) {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** The run directory of `path`, which is that directory or a state file in it; null for a state file outside of a run. */
export function runOf(path: string): string | null {
  if (statIfThere(path)?.isDirectory()) return path;
  const folder = dirname(path);
  const run = dirname(folder);
  return basename(resolve(folder)) === 'checkpoints' && isRunConfig(join(run, 'config.json')) ? run : null;
}

/** True if both paths lead to the same folder. `b` need not exist. */
export function isSameFolder(a: string, b: string): boolean {
  return existsSync(b) && realpathSync(a) === realpathSync(b);
}

/** The path of a new run: runs/<date>-<time>-<dataset> in UTC, with a number at the end if that exists. */
export function newRunPath(dataset: string, now: Date): string {
  const stamp = now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  const base = join('runs', `${stamp}-${dataset.replace(/[^\w.-]+/g, '_')}`);
  for (let n = 1; ; n++) {
    const path = n === 1 ? base : `${base}-${n}`;
    if (!existsSync(path)) return path;
  }
}
