/** SIGINT and SIGTERM: what is under way is saved before a command ends. */
import type { Trainer } from '../train/trainer.js';

export const exitCode = (signal: NodeJS.Signals): number => (signal === 'SIGINT' ? 130 : 143);

/**
 * Calls `stop` at every SIGINT and SIGTERM; a second one, a moment after the first, ends the process at once. Returns
 * what tells the first signal that came.
 */
export function stopOnSignals(stop: (signal: NodeJS.Signals) => void): () => NodeJS.Signals | null {
  let caught: { signal: NodeJS.Signals; at: number } | null = null;
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.on(signal, () => {
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
