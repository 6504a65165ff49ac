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

/** The value that 16 bits stand for. */
export function fromHalfBits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> FRACTION_BITS) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? sign * (1024 + fraction) * 2 ** (exponent - 25) : sign * fraction * 2 ** -24;
}

/** The 16 bits of what `roundToHalf` gives. */
export function toHalfBits(x: number): number {
  const size = Math.abs(roundToHalf(x));
  if (Number.isNaN(size)) return 0x7e00;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  if (size > LARGEST) return sign | 0x7c00;
  const exponent = Math.max(Math.floor(Math.log2(size)), LEAST_EXPONENT);
  const steps = size / 2 ** (exponent - FRACTION_BITS); // below 1024 where the number is subnormal
  return sign | (((exponent - LEAST_EXPONENT) << FRACTION_BITS) + steps);
}

/** The nearest f16s of values, as a tensor of them is written. */
export const toHalves = (values: Float32Array): Uint16Array<ArrayBuffer> =>
  Uint16Array.from(values, toHalfBits);
