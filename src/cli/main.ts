/** What every command line shares: how it ends. */
import { PatchlightError } from '../core/errors.js';

/** A command line that was typed wrong: exit code 2. */
export class UsageError extends PatchlightError {
  override name = 'UsageError';
}

/** EPIPE: the program at the other end of the pipe has ended. EIO: the terminal was closed. */
const READER_GONE = ['EPIPE', 'EIO'];

/**
 * Where the reader of the output has gone (`train.js | head`, a terminal that was closed), the command goes on: its results
 * are in files. Without this, the first line after it would be an unhandled error.
 */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!READER_GONE.includes(error.code ?? '')) throw error;
    });
}

/** Runs a command and exits with its code; a user's mistake is one sentence, only a bug shows its stack. */
export async function main(command: () => Promise<number>): Promise<never> {
  outliveReaders();
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
