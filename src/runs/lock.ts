/** One trainer at a time in a run directory. */
import { join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { isHere, isLock, type Lock, tryLock } from '../io/lock.js';

export type { Lock };

/**
 * Locks the run directory `run`, which must exist. A ConfigError names the process that holds it; the lock of a process
 * that is no more is taken over. Nobody can see from here whether a process of another host is: `take` takes its lock over.
 */
export function lockRun(run: string, { take = false } = {}): Lock {
  const path = join(run, 'run.lock');
  const lock = tryLock(path, 'If no trainer is at work in its folder, remove it.', { take });
  if (isLock(lock)) return lock;
  const { pid, host } = lock;
  throw new ConfigError(
    isHere(lock)
      ? `${run} is being trained into by process ${pid}; wait for its end or give another --output.`
      : `${run} is locked by process ${pid} on another machine, ${host}; if that process is no more (a container that was started anew has another name), add --take-lock.`,
  );
}
