/** Data sets and files that command lines name. */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../core/errors.js';
import type { Dataset } from '../data/dataset.js';
import { openDataset } from '../data/sources.js';
import { diskError } from '../io/atomic.js';
import { statOf } from '../io/read.js';
import type { Settings } from '../recipe/settings.js';
import { StatusLine, type TerminalStream } from './status_line.js';

/** Throws where the file that a flag names cannot be written, before any work is done for it. */
export function demandPlace(flag: string, path: string): void {
  if (statOf(path)?.isDirectory())
    throw new ConfigError(`--${flag} ${path} is a folder. Name a file, such as one in it.`);
  const folder = dirname(path);
  if (!statOf(folder)?.isDirectory())
    throw new ConfigError(`--${flag} ${path}: there is no folder ${folder}. Make it, or name another file.`);
}

/** Writes JSON where a flag says, which may also be a pipe or /dev/stdout. */
export function writeJson(path: string, value: unknown): void {
  const text = `${JSON.stringify(value, null, 1)}\n`;
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw diskError('write', path, Buffer.byteLength(text), error);
  }
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** The data set of a run, fetched where it is missing; a terminal shows how much of it has arrived. */
export async function openData(
  { dataset, dataDir }: Pick<Settings, 'dataset' | 'dataDir'>,
  terminal: TerminalStream | null = process.stderr.isTTY ? process.stderr : null,
): Promise<Dataset> {
  const line = terminal && new StatusLine(terminal);
  const onProgress = (received: number, total: number | undefined) =>
    line?.show(`downloading  ${megabytes(received)}${total ? ` of ${megabytes(total)}` : ''} MB`);
  try {
    return await openDataset(dataset, {
      dataDir: dataDir || process.env.PATCHLIGHT_DATA || 'data',
      download: true,
      onProgress,
      onWait: (sentence) => console.error(`patchlight: ${sentence}`),
    });
  } finally {
    line?.clear();
  }
}
