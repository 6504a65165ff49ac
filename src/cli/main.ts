/** What every command line shares: how it ends. */
import { PatchlightError } from '../core/errors.js';

/** A command line that was typed wrong: exit code 2. */
export class UsageError extends PatchlightError {
  override name = 'UsageError';
}

/** Runs a command and exits with its code; a user's mistake is one sentence, only a bug shows its stack. */
export async function main(command: () => Promise<number>): Promise<never> {
  let code: number;
  try {
    code = await command();
  } catch (error) {
    const known = error instanceof PatchlightError;
    console.error(known ? `patchlight: ${error.message}` : error);
    code = error instanceof UsageError ? 2 : 1;
  }
  // The GPU binding keeps the process alive; what was written must be out first.
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(code);
}

const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => stream.write('', () => resolve()));
