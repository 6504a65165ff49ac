/**
 * The states of a run: the newest is always called last.state.safetensors, and the two before it are kept, because a disk may
 * damage what it holds. Whenever a save is cut short, by a full disk, a kill or the power, a whole state is there.
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

/** The newest first. */
const NAMES = [checkpointNames.state, 'last.1.state.safetensors', 'last.2.state.safetensors'] as const;

/** Files of the `checkpoints` folder, the newest state first. */
const statePaths = (folder: string): string[] => NAMES.map((name) => join(folder, name));

/**
 * Writes the newest state of the run directory `run`, and moves those before it one name on. A DiskError says what the
 * system refused; the newest state is then the one it was.
 */
export async function saveState(run: string, content: FileContent, fs: FileSystem = nodeFs): Promise<void> {
  const paths = statePaths(join(run, 'checkpoints'));
  await writeContent(paths[0] as string, content, fs, () =>
    keepPrevious(paths as [string, string, string], fs),
  );
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
  /** Its metadata, and what tensors it has. */
  readonly file: TensorList;
  /** A sentence for each newer state that cannot be used. */
  readonly damaged: readonly string[];
}

/**
 * The newest state that is whole, every checksum verified: of a run directory, or `path` itself and those before it. Reads
 * and changes nothing. Throws a ConfigError where there is none, a FormatError that names what is wrong with each where none
 * is whole.
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
  if (candidates.length === 0) throw new ConfigError(`${path} holds no checkpoints/${NAMES[0]}.`);
  return candidates;
}

/** Whether something has that name, even a link that leads nowhere: it is then named among what is damaged. */
function isNamed(path: string): boolean {
  try {
    return nodeFs.lstatSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return false;
  }
}

/** Names of the files that a trainer writes into `checkpoints`. */
const CHECKPOINT = /^(last(\.[12])?\.state|best|final(\.ema)?|epoch_\d{4,})\.safetensors$/;

/**
 * Removes what saves that were cut short have left in the run directory `run`: temporary files of checkpoints whose process is
 * no more. The caller holds the run's lock, so that no trainer of another machine, whose processes are not known here, is at
 * work. A file with our own number is of an earlier process that had it: a trainer cleans before it saves.
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
      // A run may be continued from a disk that is read-only.
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
