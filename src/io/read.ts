/** Reads whole files of any size that fits in memory (readFileSync stops at 2 GiB), or any part of a larger file. */
import { constants } from 'node:buffer';
import * as nodeFs from 'node:fs';
import { ConfigError, FormatError } from '../core/errors.js';
import { errorCode, type FileSystem, LARGEST_CALL, reason } from './atomic.js';
import { parseJson } from './json.js';

/** Far more than any JSON file that a person or a run writes. */
const LARGEST_JSON = 64 << 20;

/**
 * The bytes of the file at `path`. Throws a ConfigError if it cannot be read, and a FormatError if it has more than `limit`
 * bytes, which for a pipe or a device is noticed only while reading.
 */
export function readBytes(
  path: string,
  limit: number = constants.MAX_LENGTH,
  fs: FileSystem = nodeFs,
): Uint8Array<ArrayBuffer> {
  return refusing(path, () => {
    const { fd, stat } = openFile(path, fs);
    try {
      if (stat.size > limit) throw tooLarge(path, limit);
      // The system does not know the size of pipes, devices and files in /proc.
      return stat.isFile() && stat.size > 0 ? readFile(fs, fd, stat.size) : readStream(fs, fd, path, limit);
    } finally {
      fs.closeSync(fd);
    }
  });
}

/** An open file whose parts can be read in any order, so it may be larger than memory. */
export interface OpenFile {
  readonly bytes: number;
  /** Fills `into` with the bytes from `at` on. Throws a FormatError if the file is too short. */
  readonly read: (into: Uint8Array, at: number) => void;
}

/**
 * Opens the file at `path` for `use`. It stays the same file even if another is renamed to its path meanwhile. Throws a
 * ConfigError if it cannot be read; errors of `use` pass unchanged.
 */
export function withFile<T>(path: string, use: (file: OpenFile) => T, fs: FileSystem = nodeFs): T {
  const { fd, stat } = refusing(path, () => openFile(path, fs));
  try {
    if (!stat.isFile())
      throw new ConfigError(`${path} is a pipe or a device; save its output to a file first.`);
    const read = (into: Uint8Array, at: number): void => {
      const count = refusing(path, () => fill(fs, fd, into, at));
      if (count < into.length) throw new FormatError(path, `the file ended at byte ${at + count}.`);
    };
    return use({ bytes: stat.size, read });
  } finally {
    fs.closeSync(fd);
  }
}

/** Stat of `path`, following links; null if it does not exist. Throws a ConfigError if the system refuses. */
export function statOf(path: string): nodeFs.Stats | null {
  try {
    return nodeFs.statSync(path);
  } catch (error) {
    // ENOTDIR: a part of the path is a file.
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return null;
    throw unreadable(path, error);
  }
}

/** Runs `body`, and turns an error of the system into a ConfigError about `path`. */
function refusing<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof ConfigError || error instanceof FormatError) throw error;
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): ConfigError =>
  new ConfigError(`${path} cannot be read (${reason(error)}).`);

function openFile(path: string, fs: FileSystem): { fd: number; stat: nodeFs.Stats } {
  const fd = fs.openSync(path, 'r');
  try {
    const stat = fs.fstatSync(fd);
    if (stat.isDirectory()) throw new ConfigError(`${path} is a folder, not a file.`);
    return { fd, stat };
  } catch (error) {
    fs.closeSync(fd);
    throw error;
  }
}

const tooLarge = (path: string, limit: number): FormatError =>
  new FormatError(path, `the file has more than ${limit} bytes, the most that such a file may have.`);

/** Fills `bytes` from byte `position` of the file, or from the end of the last read. Returns the number of bytes read. */
function fill(fs: FileSystem, fd: number, bytes: Uint8Array, position: number | null = null): number {
  let at = 0;
  while (at < bytes.length) {
    const from = position === null ? null : position + at;
    const count = fs.readSync(fd, bytes, at, Math.min(bytes.length - at, LARGEST_CALL), from);
    if (count === 0) break;
    at += count;
  }
  return at;
}

function readFile(fs: FileSystem, fd: number, size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  return bytes.subarray(0, fill(fs, fd, bytes));
}

function readStream(fs: FileSystem, fd: number, path: string, limit: number): Uint8Array<ArrayBuffer> {
  const chunks: Uint8Array[] = [];
  for (let total = 0; ; ) {
    const chunk = new Uint8Array(1 << 16);
    const count = fill(fs, fd, chunk);
    total += count;
    if (total > limit) throw tooLarge(path, limit);
    chunks.push(chunk.subarray(0, count));
    if (count < chunk.length) return new Uint8Array(Buffer.concat(chunks));
  }
}

/** The value in a JSON file. Throws a ConfigError if it cannot be read, a FormatError if it is not valid. */
export function readJson(path: string): unknown {
  const bytes = readBytes(path, LARGEST_JSON);
  // Some editors start a file with a byte order mark.
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return parseJson(bytes.subarray(marked ? 3 : 0), 'the file', (sentence) => {
    throw new FormatError(path, sentence);
  });
}
