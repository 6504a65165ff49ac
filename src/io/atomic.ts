/**
 * File writes that survive a crash: a reader of `path` finds the old bytes or the new ones, never a mixture. The new bytes
 * go to a file beside it, are synced and renamed over the old file, and the folder is synced. Without the first fsync the
 * rename could reach the disk before the data; without the second it might not reach the disk at all.
 */
import * as nodeFs from 'node:fs';
import { dirname } from 'node:path';
import { DiskError, PatchlightError } from '../core/errors.js';

/** The system calls used to write files and states. A test can replace them and make any one fail. */
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

/** The most bytes of one read or write call: Linux refuses or shortens calls of 2 GiB and more. */
export const LARGEST_CALL = 64 << 20;

/** Size of a piece of a file that is read piece by piece. A multiple of the size of every dtype. */
export const PIECE = 4 << 20;

/** The system's message, short enough to end a sentence: `ENOSPC: no space left on device`. */
export function reason(error: unknown): string {
  const { message } = error instanceof Error ? error : new Error(String(error));
  return /^E[A-Z0-9]+: /.test(message) ? (message.split(', ')[0] as string) : message;
}

/** The system's error code, such as `ENOENT`; undefined for an error that is not the system's. */
export const errorCode = (error: unknown): string | undefined =>
  (error as NodeJS.ErrnoException | null)?.code;

/** A remedy for an error code, if there is one. */
const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: 'free some space there or write to another disk',
  EDQUOT: 'free some of your quota or write to another disk',
  EFBIG: 'raise the limit on the size of files (ulimit -f) or write to another disk',
  EROFS: 'write to a disk that is not read-only',
  EACCES: 'write to a folder that you may write to',
};

/** Free bytes on the disk of `path`; undefined if the system does not say. */
function availableBytes(path: string): number | undefined {
  try {
    const { bavail, bsize } = nodeFs.statfsSync(dirname(path));
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** `action` names the failed operation: `write`, `append to`. */
export function diskError(action: string, path: string, needed: number, error: unknown): DiskError {
  const code = errorCode(error);
  const available = availableBytes(path);
  const room = available === undefined ? '' : `, ${available} available`;
  const remedy = REMEDIES[code ?? ''];
  const sentence = `could not ${action} ${path} (${needed} bytes needed${room}): ${reason(error).replace(/\.$/, '')}${remedy ? `; ${remedy}` : ''}.`;
  return new DiskError(path, code, needed, available, sentence);
}

/** Writes all of `bytes` at byte `position` of the file, or after the last write. */
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

/** The temporary file that holds the new bytes of `path` until the rename. The number is the PID of its process. */
const temporaryOf = (path: string): string => `${path}.${process.pid}.tmp`;

/** Writes bytes at a place of a file. */
export type Put = (bytes: Uint8Array, at: number) => void;

/** A new file that is written piece by piece, because it may be larger than memory. */
export interface FileContent {
  /** Size of the file in bytes. */
  readonly bytes: number;
  /** Writes every byte of the file once, in any order. */
  readonly write: (put: Put) => Promise<void>;
}

/** The new bytes for the file at `path`. Each method throws a DiskError if the system refuses. */
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

  /** Syncs the new bytes, calls `keep` while the old file still has its name, then renames the new file over it. */
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

  /** Removes the new bytes; the old file stays. */
  abandon(): void {
    for (const step of [() => this.close(), () => this.fs.rmSync(this.temporary, { force: true })])
      try {
        step();
      } catch {
        // Report the first failure; this one followed from it.
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
 * Replaces the file at `path`, whose folder must exist. On failure the old file is untouched, the temporary file is removed,
 * and a DiskError has the system's message, the bytes needed and the bytes free.
 */
export function writeFileAtomic(path: string, bytes: Uint8Array, fs: FileSystem = nodeFs): void {
  replaceFile(path, bytes.length, (put) => put(bytes, 0), fs);
}

/** Like writeFileAtomic, with a function that writes the `needed` bytes. Errors that it throws itself pass unchanged. */
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

/** Like replaceFile, asynchronously. `keep` runs after the new bytes are synced, while the old file still has its name. */
export async function writeContent(
  path: string,
  content: FileContent,
  fs: FileSystem = nodeFs,
  keep: () => void = () => {},
): Promise<void> {
  const file = new Replacement(path, content.bytes, fs);
  const abandon = (): void => file.abandon();
  process.on('exit', abandon); // a second Ctrl-C may end the process during an await
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
