/** The V8 heap setting of a training process. */
import { setFlagsFromString } from 'node:v8';

/**
 * Stops the young generation of V8's heap from growing. It would grow to 32 MB or more within a few thousand steps, filled
 * with dead objects of the WebGPU binding. Each of them holds driver memory that V8 does not count, so they must be
 * collected soon. A small young generation is collected more often, and each collection costs less.
 */
export function holdYoungGeneration(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
