/**
 * One file over HTTP, resumable and checksummed. Received bytes are kept in `<target>.part`, and the next attempt requests
 * the rest. The MD5 verifies that the pieces belong together, so the server's ETag need not be stored.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, stat } from 'node:fs/promises';
import { ConfigError, FormatError, PatchlightError } from '../core/errors.js';
import { diskError, reason } from './atomic.js';

/** Called with the bytes received so far, earlier attempts included, and the total (undefined if the server omits it). */
export type Progress = (received: number, total: number | undefined) => void;

export interface DownloadOptions {
  readonly onProgress?: Progress | undefined;
  /** The largest size that the file may have, in bytes; no limit by default. */
  readonly limit?: number | undefined;
}

/**
 * Fetches `url` into `target`, whose folder must exist. Throws a ConfigError if the network fails (received bytes are kept),
 * a FormatError if the file is larger than `limit` or has another MD5 (nothing is kept), and a DiskError if it cannot be
 * written.
 */
export async function download(
  url: string,
  target: string,
  md5: string,
  options: DownloadOptions = {},
): Promise<void> {
  const part = `${target}.part`;
  const resumed = (await sizeOf(part)) > 0;
  await fetchRest(url, part, options);
  let actual = await md5Of(part);
  if (actual !== md5 && resumed) {
    // The kept piece may be from an older version of the file, so try once more from the start.
    await remove(part);
    await fetchRest(url, part, options);
    actual = await md5Of(part);
  }
  if (actual !== md5) {
    await remove(part);
    throw new FormatError(url, `the MD5 of the download is ${actual}, not ${md5}.`);
  }
  await rename(part, target).catch((error) => {
    throw diskError('write', target, 0, error);
  });
}

/** Retries after a broken connection, as long as every attempt receives something. */
async function fetchRest(url: string, part: string, options: DownloadOptions): Promise<void> {
  for (;;) {
    const before = await sizeOf(part);
    try {
      return await fetchOnce(url, part, options);
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

async function fetchOnce(url: string, part: string, options: DownloadOptions): Promise<void> {
  const { onProgress, limit = Infinity } = options;
  const have = await sizeOf(part);
  // With a compressed transfer, byte positions would count compressed bytes.
  const headers: Record<string, string> = { 'accept-encoding': 'identity' };
  if (have > 0) headers.range = `bytes=${have}-`;
  const response = await fetch(url, { headers });
  const [, first, all] =
    /^bytes (?:(\d+)-\d+|\*)\/(\d+)$/.exec(response.headers.get('content-range') ?? '') ?? [];

  const otherPiece = response.status === 416 || (response.status === 206 && Number(first) !== have);
  if (have > 0 && otherPiece) {
    await response.body?.cancel();
    if (response.status === 416 && Number(all) === have) return;
    await remove(part);
    return fetchOnce(url, part, options);
  }
  if (!response.ok || !response.body || otherPiece) {
    await response.body?.cancel();
    throw new ConfigError(
      `could not download ${url}: the server answers ${response.status} ${response.statusText}.`,
    );
  }

  // A server that does not support ranges answers 200 with the whole file.
  const resumes = response.status === 206;
  const length = response.headers.get('content-length');
  let received = resumes ? have : 0;
  const total = resumes ? Number(all) : length ? Number(length) : undefined;
  const refuseWrite = (error: unknown): never => {
    throw diskError('write', part, total ?? received, error);
  };
  const handle = await open(part, resumes ? 'a' : 'w').catch(refuseWrite);
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      received += chunk.length;
      if (received > limit) break;
      await handle.appendFile(chunk).catch(refuseWrite);
      onProgress?.(received, total);
    }
  } finally {
    await handle.close();
  }
  if (received > limit) {
    await remove(part);
    throw new FormatError(url, `the server sends more than ${limit} bytes, the most that the file may have.`);
  }
  if (total !== undefined && received !== total)
    throw new Error(`the connection ended after ${received} of ${total} bytes`);
}

const remove = (path: string): Promise<void> =>
  rm(path).catch((error) => {
    throw diskError('remove', path, 0, error);
  });

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
