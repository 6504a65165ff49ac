/**
 * One file over HTTP, resumable and checksummed. What has arrived is kept in `<target>.part`; the next attempt asks for the
 * rest. The MD5 decides whether the pieces belong together, so no validator of the server's has to be remembered.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { ConfigError, FormatError, PatchlightError } from '../core/errors.js';
import { reason } from './atomic.js';

/** Bytes received so far, including those of earlier attempts, and in all (undefined where the server does not say). */
export type Progress = (received: number, total: number | undefined) => void;

/**
 * Fetches `url` into `target`, whose folder must exist. Throws a ConfigError if the network does not deliver (what has
 * arrived is kept), a FormatError if what it delivers has another MD5 (nothing is kept).
 */
export async function download(
  url: string,
  target: string,
  md5: string,
  onProgress: Progress = () => {},
): Promise<void> {
  const part = `${target}.part`;
  const resumed = (await sizeOf(part)) > 0;
  await fetchRest(url, part, onProgress);
  let actual = await md5Of(part);
  if (actual !== md5 && resumed) {
    // The first piece may come from an older version of the file: once more, from the start.
    await rm(part);
    await fetchRest(url, part, onProgress);
    actual = await md5Of(part);
  }
  if (actual !== md5) {
    await rm(part);
    throw new FormatError(url, `the MD5 of the download is ${actual}, not ${md5}.`);
  }
  await rename(part, target);
}

/** Goes on after a cut for as long as every attempt brings something. */
async function fetchRest(url: string, part: string, onProgress: Progress): Promise<void> {
  for (;;) {
    const before = await sizeOf(part);
    try {
      return await fetchOnce(url, part, onProgress);
    } catch (error) {
      if (error instanceof PatchlightError) throw error;
      const kept = await sizeOf(part);
      if (kept > before) continue;
      const cause = reason(error instanceof Error && error.cause ? error.cause : error);
      const advice =
        kept > 0 ? `; ${kept} bytes are kept in ${part}, and another attempt goes on from there` : '';
      throw new ConfigError(`could not download ${url}: ${cause}${advice}.`);
    }
  }
}

async function fetchOnce(url: string, part: string, onProgress: Progress): Promise<void> {
  const have = await sizeOf(part);
  // Compressed on the way, byte positions would mean something else.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (have > 0) headers.range = `bytes=${have}-`;
  const response = await fetch(url, { headers });
  const [, first, all] =
    /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? [];

  const otherPiece = response.status === 416 || (response.status === 206 && Number(first) !== have);
  if (have > 0 && otherPiece) {
    await response.body?.cancel();
    if (response.status === 416 && Number(all) === have) return;
    await rm(part);
    return fetchOnce(url, part, onProgress);
  }
  if (!response.ok || !response.body || otherPiece) {
    await response.body?.cancel();
    throw new ConfigError(
      `could not download ${url}: the server answers ${response.status} ${response.statusText}.`,
    );
  }

  // A server that ignores the range answers 200 with the whole file.
  const resumes = response.status === 206;
  const length = response.headers.get('content-length');
  let received = resumes ? have : 0;
  const total = resumes ? Number(all) : length ? Number(length) : undefined;
  const handle = await open(part, resumes ? 'a' : 'w').catch((error) => refuseWrite(part, error));
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      await handle.appendFile(chunk).catch((error) => refuseWrite(part, error));
      received += chunk.length;
      onProgress(received, total);
    }
  } finally {
    await handle.close();
  }
  if (total !== undefined && received !== total)
    throw new Error(`the connection ended after ${received} of ${total} bytes`);
}

function refuseWrite(path: string, error: unknown): never {
  throw new PatchlightError(`could not write ${path}: ${reason(error)}.`);
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

async function md5Of(path: string): Promise<string> {
  const hash = createHash('md5');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}
