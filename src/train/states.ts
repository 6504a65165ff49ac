/**
 * The states of a run: the newest is always called last.state.safetensors, and the two before it are kept, because a disk may
 * damage what it holds. Whenever a save is cut short, by a full disk, a kill or the power, a whole state is there.
 */
import * as nodeFs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ConfigError, FormatError, PatchlightError } from '../core/errors.js';
import { diskError, errorCode, type FileSystem, writeFileAtomic } from '../io/atomic.js';
import { readBytes } from '../io/read.js';
import type { Safetensors } from '../io/safetensors.js';
import { checkpointNames, readCheckpoint } from './checkpoint.js';
import { isRunning } from './process.js';

/** The newest first. */
const NAMES = [checkpointNames.state, 'last.1.state.safetensors', 'last.2.state.safetensors'] as const;

/** Files of the `checkpoints` folder, the newest state first. */
const statePaths = (folder: string): string[] => NAMES.map((name) => join(folder, name));

/**
 * Writes the newest state of the run directory `run`, and moves those before it one name on. A DiskError says what the
 * system refused; the newest state is then the one it was.
 */
export function saveState(run: string, bytes: Uint8Array, fs: FileSystem = nodeFs): void {
  const paths = statePaths(join(run, 'checkpoints'));
  writeFileAtomic(paths[0] as string, bytes, fs, () => keepPrevious(paths as [string, string, string], fs));
}

/** Gives the newest state its second name while it still has its first, which the rename that follows takes from it. */
function keepPrevious([last, first, second]: [string, string, string], fs: FileSystem): void {
  const newest = identity(last, fs);
  // None yet; or an earlier save ended just here, and it has its second name.
  if (!newest || newest === identity(first, fs)) return;
  try {
    fs.renameSync(first, second);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  try {
    fs.linkSync(last, first);
  } catch {
    copy(last, first, fs); // A file system without hard links.
  }
}

/** The same for two names of one file alone; null where there is none. */
function identity(path: string, fs: FileSystem): string | null {
  const stat = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat ? `${stat.dev} ${stat.ino}` : null;
}

function copy(from: string, to: string, fs: FileSystem): void {
  let bytes: Uint8Array;
  try {
    bytes = readBytes(from, undefined, fs);
  } catch (error) {
    throw diskError('copy', from, 0, error);
  }
  writeFileAtomic(to, bytes, fs);
}

export interface FoundState {
  readonly path: string;
  readonly file: Safetensors;
  /** A sentence for each newer state that cannot be used. */
  readonly damaged: readonly string[];
}

/**
 * The newest state that is whole, every checksum verified: of a run directory, or `path` itself and those before it. Removes
 * what saves cut short have left there. Throws a ConfigError where there is none, a FormatError that names what is wrong with
 * each where none is whole.
 */
export function findState(path: string): FoundState {
  const { folder, candidates } = candidatesOf(path);
  removeStaleTemporaries(folder);
  const damaged: string[] = [];
  for (const candidate of candidates)
    try {
      return { path: candidate, file: readCheckpoint(candidate), damaged };
    } catch (error) {
      if (!(error instanceof PatchlightError)) throw error;
      damaged.push(error.message);
    }
  throw new FormatError(path, `no state can be used: ${damaged.join(' ')}`);
}

function candidatesOf(path: string): { folder: string; candidates: string[] } {
  const found = nodeFs.statSync(path, { throwIfNoEntry: false });
  if (!found) throw new ConfigError(`${path} does not exist.`);
  const folder = found.isDirectory() ? join(path, 'checkpoints') : dirname(path);
  const order = found.isDirectory() ? 0 : NAMES.indexOf(basename(path) as (typeof NAMES)[number]);
  if (order < 0) return { folder, candidates: [path] };
  const candidates = statePaths(folder)
    .slice(order)
    .filter((state) => nodeFs.existsSync(state));
  if (candidates.length === 0) throw new ConfigError(`${path} holds no checkpoints/${NAMES[0]}.`);
  return { folder, candidates };
}

/** Of processes that are no more. `writeFileAtomic` is not interrupted: one under our own number is of another life. */
function removeStaleTemporaries(folder: string): void {
  for (const name of nodeFs.existsSync(folder) ? nodeFs.readdirSync(folder) : []) {
    const owner = Number(/\.(\d+)\.tmp$/.exec(name)?.[1]);
    if (!(owner > 0) || (owner !== process.pid && isRunning(owner))) continue;
    try {
      nodeFs.rmSync(join(folder, name), { force: true });
    } catch {
      // A run may be continued from a disk that is read-only.
    }
  }
}
