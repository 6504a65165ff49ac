/**
 * Mixed precision as torch.autocast's: within `autocast`, ops multiply 16-bit floats and add up in 32 bits, and keep what
 * goes from product to product in 16 bits. Sums over rows, statistics, softmax and the residual stream stay float32.
 */

let active = false;

/** Whether ops work in 16-bit floats now. */
export const autocasting = (): boolean => active;

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
