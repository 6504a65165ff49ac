/**
 * Locks between processes. A lock is a file that says which process holds it; it appears under its name whole (a hard link to
 * a file already written), and at most one process can make it appear.
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
  /** Null where the system does not say when a process started. */
  readonly start: string | null;
}

export interface Lock {
  /** Gives the lock back, if it is still ours. Happens at the latest when the process exits. */
  release(): void;
}

const LARGEST_LOCK = 4096;

/**
 * Takes the lock at `path`, whose folder must exist; where another process holds it, or this one already does, returns that.
 * The lock of a process of this machine that is no more is taken over; with `take` any lock of another machine, of whose
 * processes nothing is known here. Throws a FormatError that ends with `remedy` where the file is no lock.
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

/** Whether the process is of this machine. */
export const isHere = ({ host }: Holder): boolean => host === hostname();

interface Rules {
  /** What to do about a file that is no lock. */
  readonly remedy: string;
  /** Whether the holder of a lock may still be at work. */
  readonly mayRun: (holder: Holder) => boolean;
}

/**
 * Makes the lock at `path` ours, or returns who holds it. A stale one is replaced under a lock of its own, after another look
 * at it: of two processes that saw the same stale lock, the slower finds the faster one's in its place.
 */
function acquire(path: string, self: Holder, rules: Rules): Holder | null {
  const { remedy, mayRun } = rules;
  while (!create(path, self)) {
    const holder = readHolder(path, remedy);
    if (!holder) continue; // Given back just now.
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
function readHolder(path: string, remedy: string): Holder | null {
  const fail: Fail = (sentence) => {
    throw new FormatError(path, `${sentence} ${remedy}`);
  };
  let bytes: Uint8Array;
  try {
    bytes = readBytes(path, LARGEST_LOCK);
  } catch (error) {
    // A link that leads nowhere is there, and cannot become a lock by waiting.
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
