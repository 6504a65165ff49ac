/**
 * One trainer at a time in a run directory. The lock is a file that says who holds it; it appears under its name whole (a
 * hard link to a file already written), and at most one process can make it appear.
 */
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { ConfigError, FormatError } from '../core/errors.js';
import { diskError, errorCode, writeFileAtomic } from '../io/atomic.js';
import { type Fail, isObject, parseJson } from '../io/json.js';
import { readBytes } from '../io/read.js';
import { isRunning, startOf } from './process.js';

interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Null where the system does not say when a process started. */
  readonly start: string | null;
}

export interface Lock {
  /** Gives the lock back, if it is still ours. Happens at the latest when the process exits. */
  release(): void;
}

const LARGEST_LOCK = 4096;

/**
 * Locks the run directory `run`, which must exist. A ConfigError names the process that holds it; the lock of a process
 * that is no more is taken over. Nobody can see from here whether a process of another host is: `take` takes its lock over.
 */
export function lockRun(run: string, { take = false } = {}): Lock {
  const path = join(run, 'run.lock');
  const self: Holder = { pid: process.pid, host: hostname(), start: startOf(process.pid) };
  acquire(path, self, run, take);
  const release = (): void => {
    process.off('exit', release);
    if (existsSync(path) && readFileSync(path).equals(encode(self))) rmSync(path, { force: true });
  };
  process.on('exit', release);
  return { release };
}

/**
 * Makes the lock at `path` ours. A stale one is replaced under a lock of its own, after another look at it: of two
 * processes that saw the same stale lock, the slower finds the faster one's in its place.
 */
function acquire(path: string, self: Holder, run: string, take: boolean): void {
  while (!create(path, self)) {
    const holder = readHolder(path);
    if (!holder) continue; // Given back just now.
    refuseLiving(holder, run, self, take);
    const guard = `${path}.takeover`;
    acquire(guard, self, run, take);
    try {
      const now = readHolder(path);
      if (!now || !same(now, holder)) continue;
      writeFileAtomic(path, encode(self));
      return;
    } finally {
      rmSync(guard, { force: true });
    }
  }
}

/** False where somebody's lock is there. */
function create(path: string, self: Holder): boolean {
  const whole = `${path}.${self.pid}.new`;
  writeFileAtomic(whole, encode(self));
  try {
    linkSync(whole, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    if (isLinkless(error)) return createEmptyFirst(path, self);
    throw diskError('write', path, encode(self).length, error);
  } finally {
    rmSync(whole, { force: true });
  }
}

const isLinkless = (error: unknown): boolean =>
  ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errorCode(error) ?? '');

/** Where the file system has no hard links: for a moment the lock is there and does not say whose it is. */
function createEmptyFirst(path: string, self: Holder): boolean {
  try {
    writeFileSync(path, encode(self), { flag: 'wx', flush: true });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw diskError('write', path, encode(self).length, error);
  }
}

const encode = (holder: Holder): Uint8Array => Buffer.from(`${JSON.stringify(holder)}\n`);

/** Null where there is no lock. A FormatError where the file is none. */
function readHolder(path: string): Holder | null {
  const fail: Fail = (sentence) => {
    throw new FormatError(path, `${sentence} If no trainer is at work in its folder, remove it.`);
  };
  let bytes: Uint8Array;
  try {
    bytes = readBytes(path, LARGEST_LOCK);
  } catch (error) {
    if (!existsSync(path)) return null;
    throw error;
  }
  const holder = parseJson(bytes, 'the lock', fail);
  return isHolder(holder) ? holder : fail('the lock does not say which process holds it.');
}

function isHolder(value: unknown): value is Holder & Record<string, unknown> {
  if (!isObject(value)) return false;
  const { pid, host, start } = value;
  const isStart = start === null || typeof start === 'string';
  return Number.isSafeInteger(pid) && (pid as number) > 0 && typeof host === 'string' && isStart;
}

const same = (a: Holder, b: Holder): boolean => a.pid === b.pid && a.host === b.host && a.start === b.start;

function refuseLiving({ pid, host, start }: Holder, run: string, self: Holder, take: boolean): void {
  if (host !== self.host) {
    if (take) return;
    throw new ConfigError(
      `${run} is locked by process ${pid} on another machine, ${host}; if that process is no more (a container that was started anew has another name), add --take-lock.`,
    );
  }
  if (isRunning(pid, start))
    throw new ConfigError(
      `${run} is being trained into by process ${pid}; wait for its end or give another --output.`,
    );
}
