/** What V8 is told of a process that trains. */
import { setFlagsFromString } from 'node:v8';

/**
 * From now on the young generation of V8's heap keeps its size. By itself it grows to 32 MB and more within some thousand steps,
 * for objects of the WebGPU binding that die with their step; meanwhile they hold what the driver has allocated for them, of which
 * V8 knows nothing. Collections of a small one are as cheap as they are frequent.
 */
export function holdYoungGeneration(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
}
