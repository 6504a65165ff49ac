/** Files into memory: whole ones of any size that memory holds (readFileSync ends at 2 GiB), or any part of a larger one. */
import { constants } from 'node:buffer';
import * as nodeFs from 'node:fs';
import { ConfigError, FormatError } from '../core/errors.js';
import { errorCode, type FileSystem, LARGEST_CALL, reason } from './atomic.js';
import { parseJson } from './json.js';

/** No JSON file that a person or a run writes comes near. */
const LARGEST_JSON = 64 << 20;

/**
 * The bytes of the file at `path`. A ConfigError says why it cannot be read; a FormatError that it has more than `limit`
 * bytes, which for a pipe or a device is found while reading.
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
      // Of pipes, devices and what is in /proc the system knows no size.
      return stat.isFile() && stat.size > 0 ? readFile(fs, fd, stat.size) : readStream(fs, fd, path, limit);
    } finally {
      fs.closeSync(fd);
    }
  });
}

/** A file of which any part can be read, so that it may be larger than memory. */
export interface OpenFile {
  readonly bytes: number;
  /** Fills `into` with the bytes from `at` on. A FormatError says that the file ends before. */
  readonly read: (into: Uint8Array, at: number) => void;
}

/**
 * Gives `use` the file at `path`: the same one to the end, though another takes its name meanwhile. A ConfigError says why it
 * cannot be read; errors of `use` pass as they are.
 */
export function withFile<T>(path: string, use: (file: OpenFile) => T, fs: FileSystem = nodeFs): T {
  const { fd, stat } = refusing(path, () => openFile(path, fs));
  try {
    if (!stat.isFile())
      throw new ConfigError(`${path} is a pipe or a device; save what comes from it as a file first.`);
    const read = (into: Uint8Array, at: number): void => {
      const count = refusing(path, () => fill(fs, fd, into, at));
      if (count < into.length) throw new FormatError(path, `the file ended at byte ${at + count}.`);
    };
    return use({ bytes: stat.size, read });
  } finally {
    fs.closeSync(fd);
  }
}

/** What is at `path`, links followed; null where nothing is. A ConfigError says why the system does not tell. */
export function statOf(path: string): nodeFs.Stats | null {
  try {
    return nodeFs.statSync(path);
  } catch (error) {
    // ENOTDIR: something on the way to it is a file.
    if (['ENOENT', 'ENOTDIR'].includes(errorCode(error) ?? '')) return null;
    throw unreadable(path, error);
  }
}

/** Runs `body`; what the system refuses in it is a sentence about `path`. */
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
  new FormatError(path, `the file has more than the ${limit} bytes that such a file can have.`);

/** As many of `bytes` as there are, from byte `position` of the file or where the last call ended, and how many that is. */
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

/** The value in a JSON file. A ConfigError says that it cannot be read, a FormatError what is wrong in it. */
export function readJson(path: string): unknown {
  const bytes = readBytes(path, LARGEST_JSON);
  // Some editors start a file with a byte order mark.
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return parseJson(bytes.subarray(marked ? 3 : 0), 'the file', (sentence) => {
    throw new FormatError(path, sentence);
  });
}
