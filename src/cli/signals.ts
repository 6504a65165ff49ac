/** SIGINT and SIGTERM: what is under way is saved before a command ends. */

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
