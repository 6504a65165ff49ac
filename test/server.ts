/** Web servers for tests, well-behaved or not. */
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Bytes that repeat only after 64 KiB, so that a piece in the wrong place is detected. */
export const sampleBytes = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (Math.imul(i, 2654435761) >>> 16) & 255);

export const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');

export type Answer = (request: IncomingMessage, response: ServerResponse, count: number) => void;

/** Runs `use` with a server of its own, and returns the Range headers of its requests. */
export async function serving(
  answer: Answer,
  use: (address: string) => Promise<void>,
): Promise<(string | undefined)[]> {
  const ranges: (string | undefined)[] = [];
  const server: Server = createServer((request, response) => {
    ranges.push(request.headers.range);
    answer(request, response, ranges.length);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
  return ranges;
}

/** A well-behaved server of `bytes`. `cut` closes the connection after that many bytes of the answer. */
export function serve(bytes: Uint8Array, cut = Infinity): Answer {
  return (request, response) => {
    const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    if (first >= bytes.length)
      return void response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    const body = bytes.subarray(first);
    if (first > 0) response.setHeader('content-range', `bytes ${first}-${bytes.length - 1}/${bytes.length}`);
    response.writeHead(first > 0 ? 206 : 200, { 'content-length': body.length });
    if (cut >= body.length) response.end(body);
    else response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 20));
  };
}
