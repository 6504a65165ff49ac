// Shared by the scripts. It uses only Node's own modules, because scripts run before packages are installed.
import { closeSync, fsyncSync, openSync, realpathSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** An error that the user can act on. It is printed as a sentence without a stack. */
export class Trouble extends Error {}

/** True in the module that `node` was asked to run. */
export function isMain(url) {
  return process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(url);
}

/** Runs `body`. A Trouble prints its sentence and ends the process with exit code 1. */
export async function runMain(body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof Trouble)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

/**
 * Replaces a file: whoever reads it finds the old bytes or the new ones, never a part. It is on the disk before it gets its
 * name, so it is whole even if the machine fails. `mode` holds its permissions.
 */
export function replaceFile(path, contents, mode = 0o644) {
  const temporary = `${path}.${process.pid}.tmp`;
  const file = openSync(temporary, 'w', mode);
  try {
    writeFileSync(file, contents);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
