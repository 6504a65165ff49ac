/** Signals that ask a command to end. The state of a run is saved first. */
import { constants } from 'node:os';
import type { Trainer } from '../runs/trainer.js';

/**
 * Ctrl-C, `kill`, and the end of the terminal or of the ssh session. SIGHUP needs a handler even under nohup: Node does not
 * keep nohup's choice to ignore it, and would end the process with nothing saved.
 */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The exit code of a process that a signal ended: 128 plus the signal's number, as in shells (130, 143, 129). */
export const exitCode = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

/** True if this is the exit code of a process that one of the signals ended. */
export const wasStopped = (code: number): boolean => SIGNALS.some((signal) => exitCode(signal) === code);

/**
 * Ends a process that SIGHUP has stopped by sending it SIGHUP again. Otherwise Node would end it by abort(), which looks like
 * a crash: at exit Node restores the modes of the terminal, which is gone. This handler is registered last, so it runs last.
 */
function endByHangUp(code: number): void {
  if (code !== exitCode('SIGHUP') || process.platform === 'win32') return;
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

/**
 * Calls `stop` at every signal. A second signal, more than a second after the first, ends the process at once. Returns a
 * function that returns the first signal; null while there was none.
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
 * Passes stop signals on to a trainer. Until `listen` is called, a signal simply ends the process: before the first step
 * there is nothing to save, and a handler could not run while kernels are compiled.
 */
export class Stopping {
  private trainer: Trainer | null = null;
  private signal: (() => NodeJS.Signals | null) | null = null;

  /** Sets the trainer that is asked to stop. */
  follow(trainer: Trainer): void {
    this.trainer = trainer;
    trainer.stopRequested = this.caught !== null;
  }

  /** Starts to handle signals. More calls change nothing. */
  listen(): void {
    this.signal ??= stopOnSignals(() => {
      if (this.trainer) this.trainer.stopRequested = true;
    });
  }

  /** The first signal; null if there was none. */
  get caught(): NodeJS.Signals | null {
    return this.signal?.() ?? null;
  }
}
