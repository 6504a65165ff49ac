/** Whole files into memory: of any size that memory holds (readFileSync ends at 2 GiB), and never more than was allowed. */
import { constants } from 'node:buffer';
import * as nodeFs from 'node:fs';
import { ConfigError, FormatError } from '../core/errors.js';
import { type FileSystem, LARGEST_CALL, reason } from './atomic.js';
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
  try {
    const fd = fs.openSync(path, 'r');
    try {
      const stat = fs.fstatSync(fd);
      if (stat.isDirectory()) throw new ConfigError(`${path} is a folder, not a file.`);
      if (stat.size > limit) throw tooLarge(path, limit);
      // Of pipes, devices and what is in /proc the system knows no size.
      return stat.isFile() && stat.size > 0 ? readFile(fs, fd, stat.size) : readStream(fs, fd, path, limit);
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    if (error instanceof ConfigError || error instanceof FormatError) throw error;
    throw new ConfigError(`${path} cannot be read (${reason(error)}).`);
  }
}

const tooLarge = (path: string, limit: number): FormatError =>
  new FormatError(path, `the file has more than the ${limit} bytes that such a file can have.`);

/** As many of `bytes` as there are, and how many that is. */
function fill(fs: FileSystem, fd: number, bytes: Uint8Array): number {
  let at = 0;
  while (at < bytes.length) {
    const count = fs.readSync(fd, bytes, at, Math.min(bytes.length - at, LARGEST_CALL), null);
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
