/**
 * The folder where the driver caches compiled kernels. The driver loads and runs what it finds there, so nobody else
 * may be able to write to it.
 */

/** Owner and mode of a path, as lstat gives them. */
export interface Entry {
  readonly uid: number;
  readonly mode: number;
}

export interface User {
  readonly uid: number;
  /** Links resolved; empty where the user has no home folder. */
  readonly home: string;
  /** The system's folder for temporary files, where every user can make names. */
  readonly temporary: string;
}

export interface FileSystem {
  /** Follows no link; null where there is nothing. */
  stat(path: string): Entry | null;
  /** Makes a folder of mode 0700 where there is nothing of that name. Where it cannot, it does nothing. */
  makePrivate(path: string): void;
}

const TYPE = 0o170000;
const FOLDER = 0o040000;
const WRITABLE_BY_ALL = 0o002;
const OPEN_TO_OTHERS = 0o077;

/**
 * `$XDG_CACHE_HOME/patchlight`, else `~/.cache/patchlight`, else `patchlight-<uid>` among the temporary files. A home folder
 * counts when it is the user's own and not everybody's to write. Among the temporary files another user may have
 * taken the name first: the owner and the mode are checked, and null says that there is no safe folder.
 */
export function cacheFolder(
  env: Readonly<Record<string, string | undefined>>,
  { uid, home, temporary }: User,
  { stat, makePrivate }: FileSystem,
): string | null {
  const owned = (path: string, forbidden: number): boolean => {
    const entry = stat(path);
    return entry !== null && entry.uid === uid && (entry.mode & TYPE) === FOLDER && !(entry.mode & forbidden);
  };
  // The XDG base directory specification has relative paths ignored.
  if (env.XDG_CACHE_HOME?.startsWith('/')) return `${env.XDG_CACHE_HOME}/patchlight`;
  // A container without users has the home folder /: for root, owning it says nothing.
  if (/^\/./.test(home) && owned(home, WRITABLE_BY_ALL)) return `${home}/.cache/patchlight`;
  const own = `${temporary}/patchlight-${uid}`;
  makePrivate(own);
  return owned(own, OPEN_TO_OTHERS) ? own : null;
}
