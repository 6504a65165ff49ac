/** Data sets and output files of the commands. */
import { writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { ConfigError } from '../core/errors.js';
import type { Dataset } from '../data/dataset.js';
import { openDataset } from '../data/sources.js';
import { diskError } from '../io/atomic.js';
import { statOf } from '../io/read.js';
import type { Settings } from '../recipe/settings.js';
import { StatusLine, type TerminalStream } from './status_line.js';

/** Throws a ConfigError if the output file `path` of `--flag` cannot be written, so that no work is done in vain. */
export function demandPlace(flag: string, path: string): void {
  if (statOf(path)?.isDirectory())
    throw new ConfigError(`--${flag} ${path} is a folder. Name a file, such as one in it.`);
  const folder = dirname(path);
  if (!statOf(folder)?.isDirectory())
    throw new ConfigError(`--${flag} ${path}: there is no folder ${folder}. Make it, or name another file.`);
}

/** Writes JSON to `path`, which may also be a pipe or /dev/stdout. Throws a DiskError. */
export function writeJson(path: string, value: unknown): void {
  const text = `${JSON.stringify(value, null, 1)}\n`;
  try {
    writeFileSync(path, text);
  } catch (error) {
    throw diskError('write', path, Buffer.byteLength(text), error);
  }
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** Opens the data set of a run. Missing files are downloaded, and a terminal shows the progress. */
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
