/** Float16 (IEEE 754 binary16), computed in float64. */

const LEAST_EXPONENT = -14; // of a normal number; subnormal numbers are multiples of 2^-24
const FRACTION_BITS = 10;
const LARGEST = 65504;

/** Rounds to the nearest f16, ties to even; beyond the largest f16 the result is infinite. */
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

/** The value of an f16 from its 16 bits. */
export function fromHalfBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> FRACTION_BITS) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1024 + fraction) * 2 ** (exponent - 25) : sign * fraction * 2 ** -24;
}

/** The 16 bits of a value that is an f16, as `roundToHalf` returns it. */
export function toHalfBits(x: number): number {
  const size = Math.abs(roundToHalf(x));
  if (Number.isNaN(size)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (size > LARGEST) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(size)), LEAST_EXPONENT);
  const steps = size / 2 ** (exponent - FRACTION_BITS); // below 1024 where the number is subnormal
  return sign | (((exponent - LEAST_EXPONENT) << FRACTION_BITS) + steps);
}

/** Values rounded to f16, as the bits that are written into a tensor. */
export const toHalves = (values: Float32Array): Uint16Array<ArrayBuffer> =>
  Uint16Array.from(values, toHalfBits);
