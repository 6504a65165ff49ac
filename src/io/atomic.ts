/**
 * File writes that survive a crash: whoever reads `path` finds the old bytes or the new ones, never a mixture.
 * Write a neighbour, make it durable, rename it over the old one, make the rename durable. Each step is needed:
 * without the first fsync the rename may reach the disk before the data, without the second it may not reach it at all.
 */
import * as nodeFs from 'node:fs';
import { dirname } from 'node:path';
import { PatchlightError } from '../core/errors.js';

/** The system calls that are used here, so that a test can make any one of them fail. */
export type FileSystem = Pick<
  typeof nodeFs,
  | 'openSync'
  | 'writeSync'
  | 'fsyncSync'
  | 'closeSync'
  | 'renameSync'
  | 'rmSync'
  | 'fstatSync'
  | 'ftruncateSync'
>;

/** One call writes at most this many bytes: the kernel refuses or shortens calls of 2 GiB and more. */
const LARGEST_WRITE = 64 << 20;

/** What the system said, short enough to end a sentence with: `ENOSPC: no space left on device`. */
export function reason(error: unknown): string {
  const { message } = error instanceof Error ? error : new Error(String(error));
  return /^E[A-Z0-9]+: /.test(message) ? (message.split(', ')[0] as string) : message;
}

function writeAll(fs: FileSystem, fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    const written = fs.writeSync(fd, bytes, at, Math.min(bytes.length - at, LARGEST_WRITE));
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

/**
 * Replaces the file at `path`, whose folder must exist. On failure the old file is untouched, the temporary one removed,
 * and a PatchlightError says in a sentence what the system refused.
 */
export function writeFileAtomic(path: string, bytes: Uint8Array, fs: FileSystem = nodeFs): void {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    const fd = fs.openSync(temporary, 'w');
    try {
      writeAll(fs, fd, bytes);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.renameSync(temporary, path);
    syncFolder(fs, dirname(path));
  } catch (error) {
    try {
      fs.rmSync(temporary, { force: true });
    } catch {
      // The first failure is the one worth telling.
    }
    throw new PatchlightError(`could not write ${path} (${bytes.length} bytes): ${reason(error)}.`);
  }
}

/** Appends `bytes` to a log, as a whole or not at all. Not synced: a log may lose its last entries. */
export function appendBytes(path: string, bytes: Uint8Array, fs: FileSystem = nodeFs): void {
  try {
    const fd = fs.openSync(path, 'a');
    try {
      const { size } = fs.fstatSync(fd);
      try {
        writeAll(fs, fd, bytes);
      } catch (error) {
        try {
          fs.ftruncateSync(fd, size);
        } catch {
          // The first failure is the one worth telling.
        }
        throw error;
      }
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    throw new PatchlightError(`could not append to ${path}: ${reason(error)}.`);
  }
}

/** Appends `text` and a line end, as `appendBytes` does. */
export function appendLine(path: string, text: string, fs: FileSystem = nodeFs): void {
  appendBytes(path, new TextEncoder().encode(`${text}\n`), fs);
}
