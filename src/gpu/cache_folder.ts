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
  /** With links resolved; empty if the user has no home folder. */
  readonly home: string;
  /** The system's folder for temporary files, where every user can create files. */
  readonly temporary: string;
}

export interface FileSystem {
  /** Does not follow links; null if the path does not exist. */
  stat(path: string): Entry | null;
  /** Creates a folder of mode 0700 if the path does not exist. A failure is ignored. */
  makePrivate(path: string): void;
}

const TYPE = 0o170000;
const FOLDER = 0o040000;
const WRITABLE_BY_ALL = 0o002;
const OPEN_TO_OTHERS = 0o077;

/**
 * `$XDG_CACHE_HOME/patchlight`, else `~/.cache/patchlight`, else `patchlight-<uid>` among the temporary files. The home
 * folder is used only if the user owns it and not everybody may write to it. Among the temporary files, another user may
 * have created the name first, so owner and mode are checked. Null if no folder is safe.
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
  // The XDG base directory specification says to ignore relative paths.
  if (env.XDG_CACHE_HOME?.startsWith('/')) return `${env.XDG_CACHE_HOME}/patchlight`;
  // In a container without users, home is `/`; that root owns it does not make it root's home.
  if (/^\/./.test(home) && owned(home, WRITABLE_BY_ALL)) return `${home}/.cache/patchlight`;
  const own = `${temporary}/patchlight-${uid}`;
  makePrivate(own);
  return owned(own, OPEN_TO_OTHERS) ? own : null;
}
