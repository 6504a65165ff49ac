/** The end of every command: exit codes and error messages. */
import { PatchlightError } from '../core/errors.js';

/** A command line that was typed wrong: exit code 2. */
export class UsageError extends PatchlightError {
  override name = 'UsageError';
}

/** Set by `patchlight` (patchlight.ts), also for the processes that it starts. */
export const AS_PACKAGE = 'PATCHLIGHT_COMMANDS';

/** A command as people type it: `patchlight train` where that started this process, else `node dist/train.js`. */
export const commandName = (name: string): string =>
  process.env[AS_PACKAGE] ? `patchlight ${name}` : `node dist/${name}.js`;

/** EPIPE: the program at the other end of the pipe has ended. EIO: the terminal was closed. */
const READER_GONE = ['EPIPE', 'EIO'];

/**
 * Lets a command continue after the reader of its output has gone (`train.js | head`, a closed terminal): its results are
 * in files. Without these handlers the next line of output would be an unhandled error.
 */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (!READER_GONE.includes(error.code ?? '')) throw error;
    });
}

/**
 * Runs a command and exits with the code that it returns. A PatchlightError prints its message alone and exits with 1, a
 * UsageError with 2. Any other error is a bug and prints its stack.
 */
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
  // The process must exit explicitly because the GPU binding keeps it alive. Buffered output is written before that.
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  process.exit(code);
}

const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => stream.write('', () => resolve()));
