/**
 * Waiting for the GPU. Hosts find out in different ways that work has ended.
 *
 * Node: while a WebGPU promise is pending, Dawn's binding polls by calling
 * `globalThis.setImmediate` in a tight loop, which keeps a core busy. A software adapter needs that core to compute, so
 * there the polls are a millisecond apart, but only while a GPU promise is awaited.
 *
 * Firefox looks every 100 ms, and whenever something is submitted, so an empty submit now and then ends the wait early.
 */
const POLL_MS = 1;

const original = globalThis.setImmediate;
let waiting = 0;

function spaced(callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate {
  return setTimeout(callback, POLL_MS, ...args) as unknown as NodeJS.Immediate;
}

/** Awaits `promise`. With `yieldCores`, the binding polls once a millisecond instead of in a tight loop. */
export async function waitFor<T>(promise: Promise<T>, yieldCores: boolean): Promise<T> {
  if (!yieldCores || !original) return promise;
  if (waiting++ === 0) globalThis.setImmediate = spaced as typeof setImmediate;
  try {
    return await promise;
  } finally {
    if (--waiting === 0) globalThis.setImmediate = original;
  }
}

/** Milliseconds between two empty submits. Browsers stretch a chain of timers to 4 ms anyway. */
const NUDGE_MS = 2;

/** Awaits `promise` and calls `nudge` every few milliseconds until it is settled. */
export async function nudged<T>(promise: Promise<T>, nudge: () => void): Promise<T> {
  const timer = setInterval(nudge, NUDGE_MS);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}
