/** Takes known files out of a .tar.gz. What an archive says about paths is never used: only the names asked for are written. */
import { createReadStream, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { FormatError, PatchlightError } from '../core/errors.js';
import { reason, writeFileAtomic } from './atomic.js';

/**
 * Unpacks `members` (slash-separated path in the archive -> its size in bytes) into `folder`, each written atomically;
 * other plain files are skipped. A FormatError names the archive and what is wrong: an entry that is a link or a device
 * or whose path leaves the folder, a member that is missing or of another size, a damaged archive.
 */
export async function unpackTarGz(
  archive: string,
  folder: string,
  members: ReadonlyMap<string, number>,
): Promise<void> {
  const missing = new Set(members.keys());
  const entries = extract();
  const take = async (): Promise<void> => {
    for await (const entry of entries) {
      const name = entry.header.name.replace(/^(\.\/)+/, '');
      refuseUnsafe(archive, name, entry.header);
      const size = entry.header.type === 'file' ? members.get(name) : undefined;
      if (size === undefined) {
        entry.resume();
        continue;
      }
      if (entry.header.size !== size)
        throw new FormatError(archive, `${name} has ${entry.header.size} bytes, not ${size}.`);
      const chunks: Buffer[] = [];
      for await (const chunk of entry) chunks.push(chunk as Buffer);
      const target = join(folder, ...name.split('/'));
      mkdirSync(dirname(target), { recursive: true });
      writeFileAtomic(target, Buffer.concat(chunks));
      missing.delete(name);
    }
  };
  try {
    await Promise.all([pipeline(createReadStream(archive), createGunzip(), entries), take()]);
  } catch (error) {
    if (error instanceof PatchlightError) throw error;
    throw new FormatError(archive, `the archive cannot be unpacked: ${reason(error)}.`);
  }
  if (missing.size > 0) throw new FormatError(archive, `the archive lacks ${[...missing].join(', ')}.`);
}

/** None of these could be written here, but an archive that has them is not the one that was asked for. */
function refuseUnsafe(archive: string, name: string, { type }: Header): void {
  if (type !== 'file' && type !== 'directory')
    throw new FormatError(archive, `entry ${name} is a ${type}, and only files and folders are allowed.`);
  if (/^[/\\]|^[A-Za-z]:/.test(name) || name.split(/[/\\]/).includes('..'))
    throw new FormatError(archive, `entry ${name} would leave the folder that it is unpacked into.`);
}
