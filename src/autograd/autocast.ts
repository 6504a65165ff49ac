/**
 * Mixed precision as torch.autocast's: within `autocast`, ops multiply 16-bit floats and add up in 32 bits, and keep what
 * goes from product to product in 16 bits. Sums over rows, statistics, softmax and the residual stream stay float32.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { DType } from '../tensor/tensor.js';

let active = false;

/** Whether ops work in 16-bit floats now. */
export const autocasting = (): boolean => active;

/** What is kept from product to product as: f16 within autocast, where the adapter has it and products read it as it is. */
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
