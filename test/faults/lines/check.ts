/** The type of an invariant: a check of one command line after it was played. */
import type { Played } from './play.js';

/** A sentence if the invariant is broken. Details in square brackets at its end do not distinguish defects. */
export type Check = (played: Played) => string | null;

/** The first sentence that is not null. */
export function first(...found: readonly (string | null | false)[]): string | null {
  return found.find((sentence): sentence is string => typeof sentence === 'string') ?? null;
}

export const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(`${folder}/`);
