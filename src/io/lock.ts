/**
 * Locks between processes. A lock is a file that names the process which holds it. It is written under another name and then
 * hard-linked, so it is complete from the start, and only one process can create it.
 */
import { existsSync, linkSync, lstatSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { FormatError } from '../core/errors.js';
import { diskError, errorCode, writeFileAtomic } from './atomic.js';
import { type Fail, isObject, parseJson } from './json.js';
import { isRunning, startOf } from './pid.js';
import { readBytes } from './read.js';

export interface Holder {
  readonly pid: number;
  readonly host: string;
  /** Start of the process; null if the system does not say. */
  readonly start: string | null;
}

export interface Lock {
  /** Releases the lock if it is still ours. The exit of the process releases it, too. */
  release(): void;
}

const LARGEST_LOCK = 4096;

/**
 * Takes the lock at `path`, whose folder must exist. If a process (this one included) holds it, returns that process. The
 * lock of an ended process of this machine is taken over. The lock of another machine, whose processes we cannot see, is
 * taken over only with `take`. Throws a FormatError that ends with `remedy` if the file is not a lock.
 */
export function tryLock(path: string, remedy: string, { take = false } = {}): Lock | Holder {
  const self: Holder = { pid: process.pid, host: hostname(), start: startOf(process.pid) };
  const mayRun = (holder: Holder) => (isHere(holder) ? isRunning(holder.pid, holder.start) : !take);
  const other = acquire(path, self, { remedy, mayRun });
  if (other) return other;
  const release = (): void => {
    process.off('exit', release);
    if (existsSync(path) && readFileSync(path).equals(encode(self))) rmSync(path, { force: true });
  };
  process.on('exit', release);
  return { release };
}

export const isLock = (lock: Lock | Holder): lock is Lock => 'release' in lock;

/** True if the process runs on this machine. */
export const isHere = ({ host }: Holder): boolean => host === hostname();

interface Rules {
  /** Remedy for a file that is not a lock; the error message ends with it. */
  readonly remedy: string;
  /** True if the holder of a lock may still be running. */
  readonly mayRun: (holder: Holder) => boolean;
}

/**
 * Makes the lock at `path` ours, or returns its holder. A stale lock is replaced under a second lock and after reading it
 * again: if two processes saw the same stale lock, the slower one then finds the lock of the faster one.
 */
function acquire(path: string, self: Holder, rules: Rules): Holder | null {
  const { remedy, mayRun } = rules;
  while (!create(path, self)) {
    const holder = readHolder(path, remedy);
    if (!holder) continue; // It was released just now.
    if (mayRun(holder)) return holder;
    const guard = `${path}.takeover`;
    const other = acquire(guard, self, rules);
    if (other) return other;
    try {
      const now = readHolder(path, remedy);
      if (!now || !same(now, holder)) continue;
      writeFileAtomic(path, encode(self));
      return null;
    } finally {
      rmSync(guard, { force: true });
    }
  }
  return null;
}

/** Creates the lock file; false if there already is one. */
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

/** For file systems without hard links. For a moment the lock file exists and does not name its holder yet. */
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

/** The holder of a lock; null if there is none. Throws a FormatError if the file is not a lock. */
function readHolder(path: string, remedy: string): Holder | null {
  const fail: Fail = (sentence) => {
    throw new FormatError(path, `${sentence} ${remedy}`);
  };
  let bytes: Uint8Array;
  try {
    bytes = readBytes(path, LARGEST_LOCK);
  } catch (error) {
    // A symbolic link without a target exists, but waiting would not make it a lock.
    if (!lstatSync(path, { throwIfNoEntry: false })) return null;
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
