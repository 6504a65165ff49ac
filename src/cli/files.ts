/** Data sets that command lines name. */
import { type Dataset, openDataset } from '../data/sources.js';
import type { Settings } from '../train/settings.js';
import { StatusLine, type TerminalStream } from './status_line.js';

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
