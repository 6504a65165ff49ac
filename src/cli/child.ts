/** Training in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { reason } from '../io/atomic.js';

export interface ChildEnd {
  /** The exit code; 128 plus the signal's number if a signal ended the process, as in shells. */
  readonly code: number;
  /** Everything on standard error. */
  readonly said: string;
}

/**
 * Runs `node dist/train.js` with the given arguments; its standard output is shown. `started` gets the process, so that
 * the caller can send signals to it. The promise never rejects: a process that cannot start ends with code 1.
 */
export function trainInChild(
  args: readonly string[],
  started: (child: ChildProcess) => void,
): Promise<ChildEnd> {
  const script = join(import.meta.dirname, 'train.js');
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'inherit', 'pipe'] });
  started(child);
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  return new Promise((resolve) => {
    child.on('error', (error) =>
      resolve({ code: 1, said: `patchlight: ${script} could not be started (${reason(error)}).` }),
    );
    child.on('close', (code, signal) =>
      resolve({ code: code ?? 128 + constants.signals[signal as NodeJS.Signals], said }),
    );
  });
}

/** The error message that a failed run ended with; null if it crashed without one. */
export const lastSentence = (said: string): string | null =>
  [...said.matchAll(/^patchlight: (.+)$/gm)].at(-1)?.[1] ?? null;
