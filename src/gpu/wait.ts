/**
 * Waiting for the GPU from Node. While a WebGPU promise is pending, Dawn's binding polls by calling
 * `globalThis.setImmediate` in a tight loop, which burns a whole core. On a software adapter that core is needed for
 * the arithmetic itself, so there the polls are spaced out while, and only while, a GPU promise is awaited.
 */
const POLL_MS = 1;

const original = globalThis.setImmediate;
let waiting = 0;

function spaced(callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate {
  return setTimeout(callback, POLL_MS, ...args) as unknown as NodeJS.Immediate;
}

/** Awaits `promise`; with `yieldCores` polls once a millisecond instead of all the time. */
export async function waitFor<T>(promise: Promise<T>, yieldCores: boolean): Promise<T> {
  if (!yieldCores || !original) return promise;
  if (waiting++ === 0) globalThis.setImmediate = spaced as typeof setImmediate;
  try {
    return await promise;
  } finally {
    if (--waiting === 0) globalThis.setImmediate = original;
  }
}
