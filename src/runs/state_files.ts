/**
 * The state files of a run. The newest is always last.state.safetensors. The two before it are kept in case the disk damages
 * a file. A save that is cut short (by a full disk, a kill or a power failure) always leaves a complete state.
 */
import * as nodeFs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ConfigError, DiskError, FormatError, PatchlightError } from '../core/errors.js';
import {
  diskError,
  errorCode,
  type FileContent,
  type FileSystem,
  PIECE,
  replaceFile,
  writeContent,
} from '../io/atomic.js';
import { isRunning } from '../io/pid.js';
import { statOf, withFile } from '../io/read.js';
import type { TensorList } from '../io/safetensors_file.js';
import { checkpointNames, readCheckpoint } from './checkpoint.js';

/** The names of the states, the newest first. */
const NAMES = [checkpointNames.state, 'last.1.state.safetensors', 'last.2.state.safetensors'] as const;

/** The paths of the states in a `checkpoints` folder, the newest first. */
const statePaths = (folder: string): string[] => NAMES.map((name) => join(folder, name));

/**
 * Writes a new state into the run directory `run`, and renames the older states. Throws a DiskError if the system refuses;
 * then the newest state is the one before.
 */
export async function saveState(run: string, content: FileContent, fs: FileSystem = nodeFs): Promise<void> {
  const paths = statePaths(join(run, 'checkpoints'));
  await writeContent(paths[0] as string, content, fs, () =>
    keepPrevious(paths as [string, string, string], fs),
  );
}

/** Gives the newest state its next name as a second name. The rename of the new file then takes away its first name. */
function keepPrevious([last, first, second]: [string, string, string], fs: FileSystem): void {
  const newest = identity(last, fs);
  // There is no state yet, or an earlier save was cut short at this point and the state already has its second name.
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

/** Device and inode of a file, which two hard links to it share; null if there is none. */
function identity(path: string, fs: FileSystem): string | null {
  const stat = fs.statSync(path, { throwIfNoEntry: false, bigint: true });
  return stat ? `${stat.dev} ${stat.ino}` : null;
}

function copy(from: string, to: string, fs: FileSystem): void {
  const piece = new Uint8Array(PIECE);
  try {
    withFile(
      from,
      ({ bytes, read }) =>
        replaceFile(
          to,
          bytes,
          (put) => {
            for (let at = 0; at < bytes; at += piece.length) {
              const next = piece.subarray(0, bytes - at);
              read(next, at);
              put(next, at);
            }
          },
          fs,
        ),
      fs,
    );
  } catch (error) {
    throw error instanceof DiskError ? error : diskError('copy', from, 0, error);
  }
}

export interface FoundState {
  readonly path: string;
  readonly file: TensorList;
  /** An error message for each newer state that cannot be used. */
  readonly damaged: readonly string[];
}

/**
 * Finds the newest undamaged state, by verifying every checksum. `path` is a run directory, or a state file: then that state
 * or the ones before it. Changes nothing. Throws a ConfigError if there is no state, and a FormatError with the reason for
 * each if all are damaged.
 */
export function findState(path: string): FoundState {
  const damaged: string[] = [];
  for (const candidate of candidatesOf(path))
    try {
      return { path: candidate, file: readCheckpoint(candidate), damaged };
    } catch (error) {
      if (!(error instanceof PatchlightError)) throw error;
      damaged.push(error.message);
    }
  throw new FormatError(path, `no state can be used: ${damaged.join(' ')}`);
}

function candidatesOf(path: string): string[] {
  const found = statOf(path);
  if (!found) throw new ConfigError(`${path} does not exist.`);
  const folder = found.isDirectory() ? join(path, 'checkpoints') : dirname(path);
  const order = found.isDirectory() ? 0 : NAMES.indexOf(basename(path) as (typeof NAMES)[number]);
  if (order < 0) return [path];
  const candidates = statePaths(folder).slice(order).filter(isNamed);
  if (candidates.length === 0) throw new ConfigError(`${path} has no checkpoints/${NAMES[0]}.`);
  return candidates;
}

/** True if the name exists, even as a broken link, which is then reported as damaged. */
function isNamed(path: string): boolean {
  try {
    return nodeFs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

/** The names of a trainer's files in `checkpoints`. */
const CHECKPOINT = /^(last(\.[12])?\.state|best|final(\.ema)?|epoch_\d{4,})\.safetensors$/;

/**
 * Removes temporary files that interrupted saves have left in the run directory `run`. Their names have the PID of their
 * process, which must have ended. The caller holds the run's lock, so no trainer on another machine is writing. A file with
 * our own PID is from an earlier process with that PID, because a trainer calls this before its first save.
 */
export function removeStaleTemporaries(run: string): void {
  const folder = join(run, 'checkpoints');
  for (const name of namesIn(folder)) {
    const [, checkpoint = '', number] = /^(.+)\.(\d+)\.tmp$/.exec(name) ?? [];
    const owner = Number(number);
    if (!CHECKPOINT.test(checkpoint) || !(owner > 0)) continue;
    if (owner !== process.pid && isRunning(owner)) continue;
    try {
      nodeFs.rmSync(join(folder, name), { force: true });
    } catch {
      // The run may be on a read-only disk.
    }
  }
}

function namesIn(folder: string): string[] {
  try {
    return nodeFs.readdirSync(folder);
  } catch {
    return [];
  }
}
