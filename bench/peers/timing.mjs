// How the peers in JavaScript time a matrix product.

/** The values of an operand, the same in every peer. */
export const operandValues = (size) =>
  Float32Array.from({ length: size }, (_, i) => ((i * 7919) % 4099) / 4099 - 0.5);

/** The middle value, or the mean of the two in the middle. */
export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** How often a product of so many milliseconds runs in one measurement. */
export const repeatsFor = (batch_ms, ms) => Math.max(1, Math.min(500, Math.ceil(batch_ms / ms)));
