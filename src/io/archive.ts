/** Takes known files out of a .tar.gz. Only paths that the caller names are written, never a path from the archive. */
import { createReadStream, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { FormatError, PatchlightError } from '../core/errors.js';
import { diskError, reason, writeFileAtomic } from './atomic.js';
import { readTar, type TarEntry } from './tar.js';

/** Bytes allowed for headers, padding and files beside the members, such as a readme or the names of classes. */
const SLACK = 1 << 20;

/** Limit for the bytes of an archive of `members`, unpacked or packed: gzip adds very little to data it cannot pack. */
export const largestArchive = (members: ReadonlyMap<string, number>): number =>
  [...members.values()].reduce((sum, size) => sum + size, SLACK);

/**
 * Unpacks `members` (slash-separated path in the archive -> its size in bytes) into `folder`, each written atomically, one
 * at a time in memory. Other plain files are skipped. Throws a FormatError if an entry is a link or a device, if a path
 * leaves the folder, if a member is missing, duplicated or of another size, and if the archive is damaged or far larger
 * than its members. Throws a DiskError if a member cannot be written.
 */
export async function unpackTarGz(
  archive: string,
  folder: string,
  members: ReadonlyMap<string, number>,
): Promise<void> {
  const missing = new Set(members.keys());
  const take = ({ name: stored, type, size }: TarEntry): Uint8Array | null => {
    const name = plainName(stored);
    refuseEscape(archive, name);
    const expected = type === 'file' ? members.get(name) : undefined;
    if (expected === undefined) return null;
    if (!missing.has(name)) throw new FormatError(archive, `${name} appears twice.`);
    if (size !== expected) throw new FormatError(archive, `${name} has ${size} bytes, not ${expected}.`);
    return new Uint8Array(size);
  };
  const done = ({ name: stored }: TarEntry, content: Uint8Array): void => {
    const name = plainName(stored);
    writeMember(join(folder, ...name.split('/')), content);
    missing.delete(name);
  };
  try {
    await readTar(archive, unpacked(archive, largestArchive(members)), take, done);
  } catch (error) {
    // gzip's checksum comes last. If it is wrong, the members already written cannot be trusted.
    for (const name of members.keys()) if (!missing.has(name)) rmSync(join(folder, ...name.split('/')));
    if (error instanceof PatchlightError) throw error;
    throw new FormatError(archive, `the archive cannot be unpacked: ${reason(error)}.`);
  }
  if (missing.size > 0) throw new FormatError(archive, `the archive lacks ${[...missing].join(', ')}.`);
}

const plainName = (name: string): string => name.replace(/^(\.\/)+/, '');

/** Such paths are never written, but an archive that contains one is not the expected one. */
function refuseEscape(archive: string, name: string): void {
  if (/^[/\\]|^[A-Za-z]:/.test(name) || name.split(/[/\\]/).includes('..'))
    throw new FormatError(archive, `entry ${name} would leave the folder that it is unpacked into.`);
}

/** The unpacked bytes, up to a limit: a small gzip file can unpack to any number of bytes. */
async function* unpacked(archive: string, limit: number): AsyncGenerator<Uint8Array> {
  const packed = createReadStream(archive);
  const gunzip = createGunzip();
  packed.on('error', (error) => gunzip.destroy(error));
  let total = 0;
  try {
    for await (const chunk of packed.pipe(gunzip)) {
      total += chunk.length;
      if (total > limit)
        throw new FormatError(
          archive,
          `the archive unpacks to more than ${limit} bytes, the most that its files account for.`,
        );
      yield chunk;
    }
  } finally {
    packed.destroy();
  }
}

function writeMember(path: string, content: Uint8Array): void {
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    throw diskError('write', path, content.length, error);
  }
  writeFileAtomic(path, content);
}
