/** Which folders hold runs, and which one a run is to have. */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import { readJson } from '../io/read.js';

/** The log of a run's steps, in its directory. */
export const STEPS_FILE = 'steps.jsonl';

/** Throws a ConfigError where the folder holds a run, or a config.json that a run would overwrite. */
export function refuseTaken(path: string): void {
  if (holdsRun(path))
    throw new ConfigError(
      `${path} already holds a run; continue it with --resume ${path} or give another --output.`,
    );
  const config = join(path, 'config.json');
  if (existsSync(config) && !isRunConfig(config))
    throw new ConfigError(`${config} is not the config.json of a run; give another --output.`);
}

/** Whether a run has left more in the folder than its config.json. */
function holdsRun(path: string): boolean {
  const log = statIfThere(join(path, STEPS_FILE));
  return (log?.size ?? 0) > 0 || hasSaved(path);
}

/** Whether a run has saved weights or a state in the folder. */
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

/** Null also where the path leads through a file or a link to itself. */
function statIfThere(path: string) {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** The run directory that `path` is, or that the state file `path` lies in; null for a state file that lies elsewhere. */
export function runOf(path: string): string | null {
  if (statIfThere(path)?.isDirectory()) return path;
  const folder = dirname(path);
  const run = dirname(folder);
  return basename(resolve(folder)) === 'checkpoints' && isRunConfig(join(run, 'config.json')) ? run : null;
}

/** Whether two paths, of which the second need not exist, are one folder. */
export function isSameFolder(a: string, b: string): boolean {
  return existsSync(b) && realpathSync(a) === realpathSync(b);
}

/** runs/<date>-<time>-<dataset>, or with a number behind it when that is taken. */
export function newRunPath(dataset: string, now: Date): string {
  const stamp = now.toISOString().slice(0, 19).replace(/[-:]/g, '').replace('T', '-');
  const base = join('runs', `${stamp}-${dataset.replace(/[^\w.-]+/g, '_')}`);
  for (let n = 1; ; n++) {
    const path = n === 1 ? base : `${base}-${n}`;
    if (!existsSync(path)) return path;
  }
}
