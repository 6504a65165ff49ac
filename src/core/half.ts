/** IEEE 754 binary16 as float64 sees it. */

const LEAST_EXPONENT = -14; // of a normal number; what is smaller has its step of 2^-24
const FRACTION_BITS = 10;
const LARGEST = 65504;

/** The nearest of f16's numbers, ties to even; what rounds beyond the largest is infinite. */
export function roundToHalf(x: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), LEAST_EXPONENT);
  const step = 2 ** (exponent - FRACTION_BITS);
  const scaled = x / step;
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const up = rest > 0.5 || (rest === 0.5 && below % 2 !== 0);
  const rounded = (below + Number(up)) * step;
  return Math.abs(rounded) > LARGEST ? Math.sign(x) * Number.POSITIVE_INFINITY : rounded;
}
