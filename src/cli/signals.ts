/** Signals that ask a command to end: what is under way is saved first. */
import { constants } from 'node:os';
import type { Trainer } from '../runs/trainer.js';

/**
 * Ctrl-C, `kill`, and the end of the terminal or of the ssh session. (Node does not pass on that nohup ignores SIGHUP: without
 * a handler it would end the process with nothing saved.)
 */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** 130, 143 and 129: 128 and the number of the signal, as shells count. */
export const exitCode = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/** Whether a process that ended with this code was asked to. */
export const wasStopped = (code: number): boolean => SIGNALS.some((signal) => exitCode(signal) === code);

/**
 * Ends a process that SIGHUP has stopped by that very signal. Node would end it by abort(), a crash to whoever waits for it: it
 * sets the modes of its terminal back, and the terminal is gone. What else is to be done at the exit has been done by now.
 */
function endByHangUp(code: number): void {
  if (code !== exitCode('SIGHUP') || process.platform === 'win32') return;
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

/**
 * Calls `stop` at every signal to end; a second one, a moment after the first, ends the process at once. Returns a function
 * that gives the first signal that came.
 */
export function stopOnSignals(stop: (signal: NodeJS.Signals) => void): () => NodeJS.Signals | null {
  let caught: { signal: NodeJS.Signals; at: number } | null = null;
  for (const signal of SIGNALS)
    process.on(signal, () => {
      if (signal === 'SIGHUP' && caught === null) process.on('exit', endByHangUp);
      stop(signal);
      // npm and shells may deliver one key press twice.
      if (caught && Date.now() - caught.at > 1000) process.exit(exitCode(signal));
      caught ??= { signal, at: Date.now() };
    });
  return () => caught?.signal ?? null;
}

/**
 * A training run that may be asked to stop. Before the first step there is nothing to save, and compiling kernels may keep
 * this thread from hearing of a signal for long: until `listen` is called, a signal ends the process as it would any other.
 */
export class Stopping {
  private trainer: Trainer | null = null;
  private signal: (() => NodeJS.Signals | null) | null = null;

  /** The trainer that is to be asked. */
  follow(trainer: Trainer): void {
    this.trainer = trainer;
    trainer.stopRequested = this.caught !== null;
  }

  listen(): void {
    this.signal ??= stopOnSignals(() => {
      if (this.trainer) this.trainer.stopRequested = true;
    });
  }

  get caught(): NodeJS.Signals | null {
    return this.signal?.() ?? null;
  }
}
