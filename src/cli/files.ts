/** Data sets that command lines name. */
import { type Dataset, openDataset } from '../data/sources.js';
import type { Settings } from '../train/settings.js';
import { downloadProgress } from './progress.js';

/** The data set of a run, fetched where it is missing. */
export function openData({ dataset, dataDir }: Pick<Settings, 'dataset' | 'dataDir'>): Promise<Dataset> {
  return openDataset(dataset, {
    dataDir: dataDir || process.env.PATCHLIGHT_DATA || 'data',
    download: true,
    onProgress: downloadProgress(),
    onWait: (sentence) => console.error(`patchlight: ${sentence}`),
  });
}
