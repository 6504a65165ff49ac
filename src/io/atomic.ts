/**
 * File writes that survive a crash: whoever reads `path` finds the old bytes or the new ones, never a mixture.
 * Write a neighbour, make it durable, rename it over the old one, make the rename durable. Each step is needed:
 * without the first fsync the rename may reach the disk before the data, without the second it may not reach it at all.
 */
import * as nodeFs from 'node:fs';
import { dirname } from 'node:path';
import { DiskError, PatchlightError } from '../core/errors.js';

/** The system calls that are used here and in `train/states.ts`, so that a test can make any one of them fail. */
export type FileSystem = Pick<
  typeof nodeFs,
  | 'openSync'
  | 'readSync'
  | 'writeSync'
  | 'fsyncSync'
  | 'closeSync'
  | 'linkSync'
  | 'renameSync'
  | 'rmSync'
  | 'statSync'
  | 'fstatSync'
  | 'ftruncateSync'
>;

/** One call moves at most this many bytes: the kernel refuses or shortens calls of 2 GiB and more. */
export const LARGEST_CALL = 64 << 20;

/** Bytes of a file that are in memory at a time where it is read piece by piece: a multiple of every element's size. */
export const PIECE = 4 << 20;

/** What the system said, short enough to end a sentence with: `ENOSPC: no space left on device`. */
export function reason(error: unknown): string {
  const { message } = error instanceof Error ? error : new Error(String(error));
  return /^E[A-Z0-9]+: /.test(message) ? (message.split(', ')[0] as string) : message;
}

/** The system's name of what it refused: `ENOENT`; undefined where something else went wrong. */
export const errorCode = (error: unknown): string | undefined =>
  (error as NodeJS.ErrnoException | null)?.code;

/** What to do about it, where something can be done. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space there or write to another disk',
  EDQUOT: 'free some of your quota or write to another disk',
  EFBIG: 'raise the limit on the size of files (ulimit -f) or write to another disk',
  EROFS: 'write to a disk that is not read-only',
  EACCES: 'write to a folder that you may write to',
};

/** Bytes that are free where `path` is; undefined where the system does not say. */
function availableBytes(path: string): number | undefined {
  try {
    const { bavail, bsize } = nodeFs.statfsSync(dirname(path));
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** `action` is what could not be done: `write`, `append to`. */
export function diskError(action: string, path: string, needed: number, error: unknown): DiskError {
  const code = errorCode(error);
  const available = availableBytes(path);
  const room = available === undefined ? '' : `, ${available} available`;
  const remedy = REMEDIES[code ?? ''];
  const sentence = `could not ${action} ${path} (${needed} bytes needed${room}): ${reason(error).replace(/\.$/, '')}${remedy ? `; ${remedy}` : ''}.`;
  return new DiskError(path, code, needed, available, sentence);
}

/** Writes all of `bytes` from byte `position` of the file on, or where the last call ended. */
export function writeAll(
  fs: FileSystem,
  fd: number,
  bytes: Uint8Array,
  position: number | null = null,
): void {
  for (let at = 0; at < bytes.length; ) {
    const to = position === null ? null : position + at;
    const written = fs.writeSync(fd, bytes, at, Math.min(bytes.length - at, LARGEST_CALL), to);
    if (written === 0) throw new Error('the system accepts no more bytes');
    at += written;
  }
}

/** Makes a rename in `folder` durable. Windows cannot open folders, and writes its directory changes through. */
function syncFolder(fs: FileSystem, folder: string): void {
  if (process.platform === 'win32') return;
  const fd = fs.openSync(folder, 'r');
  try {
    fs.fsyncSync(fd);
  } finally {
    fs.closeSync(fd);
  }
}

/** Where the new bytes of `path` wait for their rename. The number tells whose they are. */
const temporaryOf = (path: string): string => `${path}.${process.pid}.tmp`;

/** Writes bytes at a place of a file. */
export type Put = (bytes: Uint8Array, at: number) => void;

/** A new file that is written piece by piece, because it may be larger than memory. */
export interface FileContent {
  /** Bytes in all. */
  readonly bytes: number;
  /** Puts every byte of the file once, in any order. */
  readonly write: (put: Put) => Promise<void>;
}

/** The bytes that are to replace the file at `path`. Each method throws a DiskError where the system refuses. */
class Replacement {
  private readonly temporary: string;
  private readonly fd: number;
  private open = true;

  constructor(
    private readonly path: string,
    private readonly needed: number,
    private readonly fs: FileSystem,
  ) {
    this.temporary = temporaryOf(path);
    this.fd = this.refusing(() => fs.openSync(this.temporary, 'w'));
  }

  put(bytes: Uint8Array, at: number): void {
    this.refusing(() => writeAll(this.fs, this.fd, bytes, at));
  }

  /** Makes the bytes durable, calls `keep` while the old file is still there, and gives the new one its name. */
  finish(keep: () => void = () => {}): void {
    const { fs, path, temporary } = this;
    this.refusing(() => {
      fs.fsyncSync(this.fd);
      this.close();
      keep();
      fs.renameSync(temporary, path);
      syncFolder(fs, dirname(path));
    });
  }

  /** Removes what was written: the old file stays. */
  abandon(): void {
    for (const step of [() => this.close(), () => this.fs.rmSync(this.temporary, { force: true })])
      try {
        step();
      } catch {
        // The first failure is the one worth telling.
      }
  }

  private close(): void {
    if (!this.open) return;
    this.open = false;
    this.fs.closeSync(this.fd);
  }

  private refusing<T>(body: () => T): T {
    try {
      return body();
    } catch (error) {
      throw error instanceof PatchlightError ? error : diskError('write', this.path, this.needed, error);
    }
  }
}

/**
 * Replaces the file at `path`, whose folder must exist. On failure the old file is untouched, the temporary one removed, and
 * a DiskError says in a sentence what the system refused, the bytes that were needed and those that are free.
 */
export function writeFileAtomic(path: string, bytes: Uint8Array, fs: FileSystem = nodeFs): void {
  replaceFile(path, bytes.length, (put) => put(bytes, 0), fs);
}

/** As writeFileAtomic: `write` puts the `needed` bytes. An error of its own passes as it is. */
export function replaceFile(
  path: string,
  needed: number,
  write: (put: Put) => void,
  fs: FileSystem = nodeFs,
): void {
  const file = new Replacement(path, needed, fs);
  try {
    write((bytes, at) => file.put(bytes, at));
    file.finish();
  } catch (error) {
    file.abandon();
    throw error;
  }
}

/** As replaceFile, of content that takes time. `keep` runs when the new bytes are durable and the old file is still there. */
export async function writeContent(
  path: string,
  content: FileContent,
  fs: FileSystem = nodeFs,
  keep: () => void = () => {},
): Promise<void> {
  const file = new Replacement(path, content.bytes, fs);
  const abandon = (): void => file.abandon();
  process.on('exit', abandon); // a second Ctrl-C ends the process while the content is awaited
  try {
    await content.write((bytes, at) => file.put(bytes, at));
    file.finish(keep);
  } catch (error) {
    abandon();
    throw error;
  } finally {
    process.off('exit', abandon);
  }
}
