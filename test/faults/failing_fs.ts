/** Node's file system with one fault. */
import * as nodeFs from 'node:fs';
import type { FileSystem } from '../../src/io/atomic.js';

/**
 * The fault at the `n`-th call. `crash`: this call and all later ones do nothing. `torn`: a crash in the middle of a write,
 * which writes half. `short`: a read or write moves only seven bytes. `full`: a write moves seven bytes, later ones none.
 */
export type Fault = 'EIO' | 'ENOSPC' | 'short' | 'full' | 'crash' | 'torn';
export const faults: readonly Fault[] = ['EIO', 'ENOSPC', 'short', 'full', 'crash', 'torn'];
export const isCrash = (fault: Fault): boolean => fault === 'crash' || fault === 'torn';

export interface FailingFs {
  readonly fs: FileSystem;
  /** Number of calls so far. */
  readonly calls: () => number;
}

type Call = (...values: unknown[]) => unknown;

/** `links: false` is a file system without hard links. This does not count as a call. */
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
