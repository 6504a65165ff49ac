/** The logs of a run directory. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isObject } from '../io/json.js';
import { readBytes } from '../io/read.js';
import { readHistory } from '../runs/history.js';
import type { EpochEntry, StepEntry } from '../training/progress.js';

export interface RunFiles {
  readonly steps: readonly StepEntry[];
  readonly history: readonly EpochEntry[];
}

/** Reads steps.jsonl and history.json of a run. A missing file gives an empty list; a damaged one a FormatError. */
export function readRunFiles(run: string): RunFiles {
  const path = join(run, 'steps.jsonl');
  const log = existsSync(path) ? new TextDecoder().decode(readBytes(path)) : '';
  return { steps: log.split('\n').flatMap(stepOf), history: readHistory(run) };
}

// The last line may be cut short by a crash, or because the run is writing it now. Lines that are not steps are skipped.
function stepOf(line: string): StepEntry[] {
  try {
    const entry: unknown = JSON.parse(line);
    const isStep = isObject(entry) && ['step', 'loss', 'lr'].every((name) => typeof entry[name] === 'number');
    return isStep ? [entry as unknown as StepEntry] : [];
  } catch {
    return [];
  }
}
