// Shared by the scripts. It uses only Node's own modules, because scripts run before packages are installed.
import { realpathSync } from 'node:fs';
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
