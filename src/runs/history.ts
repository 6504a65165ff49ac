/** Reads the history.json of a run, for sweeps and reports. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import { readJson } from '../io/read.js';
import type { EpochEntry } from '../training/progress.js';

const NUMBERS = ['epoch', 'images', 'lr', 'seconds'] as const;
/** Fields that may be null or absent. */
const FIGURES = [
  'train_loss',
  'train_accuracy',
  'val_loss',
  'val_accuracy',
  'ema_val_loss',
  'ema_val_accuracy',
  'flops',
] as const;

/** The finished epochs of the run in the folder `run`; none if there is no file. Throws a FormatError for a damaged file. */
export function readHistory(run: string): readonly EpochEntry[] {
  const path = join(run, 'history.json');
  if (!existsSync(path)) return [];
  const history = readJson(path);
  if (!Array.isArray(history) || !history.every(isEntry))
    throw new FormatError(path, 'the file must hold a JSON array with an entry for each epoch.');
  return history;
}

function isEntry(entry: unknown): entry is EpochEntry {
  if (!isObject(entry)) return false;
  const isFigure = (value: unknown) => value === undefined || value === null || typeof value === 'number';
  return (
    NUMBERS.every((name) => typeof entry[name] === 'number') && FIGURES.every((name) => isFigure(entry[name]))
  );
}
