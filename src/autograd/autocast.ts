/**
 * Mixed precision, as torch.autocast: within `autocast`, products multiply 16-bit floats and add in 32 bits, and the
 * activations between products are stored in 16 bits. Sums over rows, statistics, softmax and the residual stream stay
 * float32.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { DType } from '../tensor/tensor.js';

let active = false;

/** True within `autocast`. */
export const autocasting = (): boolean => active;

/** The dtype of activations between products: f16 within `autocast`, where the adapter's products read f16; else f32. */
export function productType({ info }: Gpu): DType {
  const narrow = active && info.knobs.halfTensors === 1 && info.features.has('shader-f16');
  return narrow ? 'f16' : 'f32';
}

/** Runs `body`, backward passes too, in mixed precision; for adapters with shader-f16. Synchronous only. */
export function autocast<T>(body: () => T): T {
  const before = active;
  active = true;
  try {
    return body();
  } finally {
    active = before;
  }
}
