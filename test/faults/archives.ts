/** Archives for the tests, made by another implementation (tar-stream) than the reader under test. */
import { gzipSync } from 'node:zlib';
import { type Header, pack } from 'tar-stream';

export type Entry = Partial<Header> & { name: string; text?: string | Uint8Array };

export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const tar = pack();
  for (const { text, ...header } of entries) tar.entry(header, Buffer.from(text ?? ''));
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

export const archiveOf = async (entries: readonly Entry[]): Promise<Uint8Array> =>
  gzipSync(await tarOf(entries));

/** Writes bytes into the header at `at` and corrects its checksum. */
export function patched(tar: Uint8Array, at: number, offset: number, bytes: string | Uint8Array): Buffer {
  const copy = Buffer.from(tar);
  copy.set(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes, at + offset);
  return withChecksum(copy, at);
}

/** Corrects the checksum of the header at `at`, in place. */
export function withChecksum(tar: Buffer, at: number): Buffer {
  tar.fill(0x20, at + 148, at + 156);
  const sum = tar.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  return tar;
}
