/** Node's file system with one thing wrong with it. */
import * as nodeFs from 'node:fs';
import type { FileSystem } from '../../src/io/atomic.js';

/**
 * What happens at the `n`-th call. `crash`: it and all that follow do nothing. `torn`: if it writes, half of it arrives before
 * the crash. `short`: if it reads or writes, it moves seven bytes. `full`: it moves seven bytes, and no write after it any.
 */
export type Fault = 'EIO' | 'ENOSPC' | 'short' | 'full' | 'crash' | 'torn';
export const faults: readonly Fault[] = ['EIO', 'ENOSPC', 'short', 'full', 'crash', 'torn'];
export const isCrash = (fault: Fault): boolean => fault === 'crash' || fault === 'torn';

export interface FailingFs {
  readonly fs: FileSystem;
  /** Calls so far. */
  readonly calls: () => number;
}

type Call = (...values: unknown[]) => unknown;

/** `links: false` is a file system without hard links, which is no fault and no call. */
export function failingFs(n: number, fault: Fault, { links = true } = {}): FailingFs {
  let calls = 0;
  const wrap =
    (name: string, real: Call): Call =>
    (...values) => {
      if (name === 'linkSync' && !links) throw refusal('EPERM', name);
      calls++;
      const moves = name === 'writeSync' || name === 'readSync';
      const part = (count: number): unknown => real(...values.with(3, Math.min(values[3] as number, count)));
      if (isCrash(fault) && calls >= n) {
        if (fault === 'torn' && calls === n && moves) part(Math.ceil((values[3] as number) / 2));
        throw refusal('ECRASH', name);
      }
      if (fault === 'full' && calls > n && name === 'writeSync') throw refusal('ENOSPC', name);
      if (calls !== n) return real(...values);
      if (fault === 'short' || fault === 'full') return moves ? part(7) : real(...values);
      throw refusal(fault, name);
    };
  const fs = new Proxy(nodeFs, {
    get: (target, name) => wrap(String(name), Reflect.get(target, name) as Call),
  });
  return { fs, calls: () => calls };
}

const refusal = (code: string, call: string): Error =>
  Object.assign(new Error(`${code}: provoked, ${call}`), { code });
