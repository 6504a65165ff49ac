/** What a run directory tells of its training. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FormatError } from '../core/errors.js';
import type { EpochEntry, StepEntry } from '../train/run_directory.js';

export interface RunFiles {
  readonly steps: readonly StepEntry[];
  /** Entries may have figures beyond these, such as those of the averaged weights. */
  readonly history: readonly EpochEntry[];
}

/** Both are empty where the run has not got so far; a FormatError names a file that is damaged. */
export function readRunFiles(run: string): RunFiles {
  const read = (name: string): string | null => {
    const path = join(run, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : null;
  };
  return {
    steps: (read('steps.jsonl') ?? '').split('\n').flatMap(stepOf),
    history: historyOf(join(run, 'history.json'), read('history.json') ?? '[]'),
  };
}

// The last line may be cut short: by a crash, or because the run is writing it at this moment.
function stepOf(line: string): StepEntry[] {
  try {
    return [JSON.parse(line) as StepEntry];
  } catch {
    return [];
  }
}

function historyOf(path: string, text: string): EpochEntry[] {
  try {
    return JSON.parse(text) as EpochEntry[];
  } catch {
    throw new FormatError(path, 'it is not JSON.');
  }
}
