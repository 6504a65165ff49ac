/** The lock of a run directory, which lets one trainer at a time use it. */
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { isHere, isLock, type Lock, tryLock } from '../io/lock.js';

export type { Lock };

/**
 * Locks the run directory `run`, which must exist. Throws a ConfigError that names the process which holds the lock. The
 * lock of an ended process of this machine is taken over. Processes of another machine cannot be seen from here, so their
 * locks are taken over only with `take`.
 */
export function lockRun(run: string, { take = false } = {}): Lock {
  const path = join(run, 'run.lock');
  const lock = tryLock(path, 'If no trainer uses its folder, remove it.', { take });
  if (isLock(lock)) return lock;
  const { pid, host } = lock;
  throw new ConfigError(
    isHere(lock)
      ? `${run} is in use by process ${pid}, which trains into it. Wait until it ends, or give another --output.`
      : `${run} is locked by process ${pid} on another machine, ${host}. If that process has ended (a restarted container counts as another machine), add --take-lock.`,
  );
}
