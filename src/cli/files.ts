/** Files that command lines name: of settings, and of data sets. */
import { readFileSync } from 'node:fs';
import { ConfigError } from '../core/errors.js';
import { type Dataset, openDataset } from '../data/sources.js';
import type { Settings } from '../train/settings.js';
import { downloadProgress } from './progress.js';

export function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError(`${path} is not a readable JSON file: ${(error as Error).message}`);
  }
}

/** Settings from a file of them, or from a run's own config.json, which has them one level down. */
export function readConfig(path: string): Record<string, unknown> {
  const value = readJson(path);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ConfigError(`${path} must hold one JSON object of settings.`);
  return ('settings' in value ? value.settings : value) as Record<string, unknown>;
}

/** The data set of a run, fetched where it is missing. */
export function openData({ dataset, dataDir }: Pick<Settings, 'dataset' | 'dataDir'>): Promise<Dataset> {
  return openDataset(dataset, {
    dataDir: dataDir || process.env.PATCHLIGHT_DATA || 'data',
    download: true,
    onProgress: downloadProgress(),
  });
}
