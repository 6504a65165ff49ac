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

/** The 16 bits of the nearest f16. */
export function halfBits(x: number): number {
  const near = Math.abs(roundToHalf(x));
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (Number.isNaN(near)) return 0x7e00;
  if (near === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  const exponent = Math.floor(Math.log2(near));
  if (exponent < LEAST_EXPONENT) return sign | (near * 2 ** 24);
  return sign | ((exponent - LEAST_EXPONENT + 1) << FRACTION_BITS) | ((near / 2 ** exponent - 1) * 1024);
}

/** The value of an f16, given as its 16 bits. */
export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> FRACTION_BITS) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1024 + fraction) * 2 ** (exponent - 25) : sign * fraction * 2 ** -24;
}

/** The nearest f16s of values, as a tensor of them is written. */
export const toHalves = (values: Float32Array): Uint16Array<ArrayBuffer> =>
  Uint16Array.from(values, halfBits);
