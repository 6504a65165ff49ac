/** What an invariant is: a look at one command line that was played. */
import type { Played } from './play.js';

/** A sentence where something is not as it must be; what is in square brackets at its end does not tell defects apart. */
export type Check = (played: Played) => string | null;

/** The first sentence of those that are some. */
export function first(...found: readonly (string | null | false)[]): string | null {
  return found.find((sentence): sentence is string => typeof sentence === 'string') ?? null;
}

export const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(`${folder}/`);
