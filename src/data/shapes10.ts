/**
 * A data set of CIFAR's geometry that needs no download: ten shapes, 32x32 pixels, three colours. Image i of a split is a
 * pure function of (seed, split, i). Place, size, tilt and all colours are drawn without regard to the class, and the shape
 * is as often darker than its ground as lighter: no pixel's mean depends on the class, so a linear classifier learns little
 * (23 % right after six epochs) and a model has to see the outline.
 *
 * Only +, -, *, / and sqrt are used: IEEE 754 fixes their last bit, which it does not for sine or exp, so that every engine
 * draws the same bytes.
 */
import { Counter, hashInto, stream } from '../core/rng.js';

const SIDE = 32;
const PLANE = SIDE * SIDE;
const MIDDLE = (SIDE - 1) / 2;

/**
 * How far (u, v) is inside the shape, in units of its radius; negative outside. v grows downwards, as rows do.
 * Intersection is min, union is max (https://iquilezles.org/articles/distfunctions2d).
 */
type Inside = (u: number, v: number) => number;

const length = (u: number, v: number): number => Math.sqrt(u * u + v * v);
const box = (u: number, v: number, halfWidth: number, halfHeight: number): number =>
  Math.min(halfWidth - Math.abs(u), halfHeight - Math.abs(v));

/** Outward normals of a regular pentagon: sines and cosines of multiples of 72 degrees. */
const PENTAGON_U = [0, 0.9510565162951535, 0.5877852522924731, -0.5877852522924731, -0.9510565162951535];
const PENTAGON_V = [1, 0.30901699437494745, -0.8090169943749475, -0.8090169943749475, 0.30901699437494745];

/** A pentagram's points are inside all but at most one of the five half-planes: the second smallest distance decides. */
const star: Inside = (u, v) => {
  let least = Number.POSITIVE_INFINITY;
  let second = Number.POSITIVE_INFINITY;
  for (let i = 0; i < PENTAGON_U.length; i++) {
    const distance = 0.36 - (u * (PENTAGON_U[i] as number) + v * (PENTAGON_V[i] as number));
    second = Math.min(second, Math.max(least, distance));
    least = Math.min(least, distance);
  }
  return second;
};

const shapes: Readonly<Record<string, Inside>> = {
  disc: (u, v) => 0.9 - length(u, v),
  ring: (u, v) => 0.2 - Math.abs(length(u, v) - 0.75),
  square: (u, v) => box(u, v, 0.78, 0.78),
  triangle: (u, v) => Math.min(0.52 - v, 0.52 + 0.5 * v - 0.8660254037844386 * Math.abs(u)),
  plus: (u, v) => Math.max(box(u, v, 0.27, 0.95), box(u, v, 0.95, 0.27)),
  star,
  crescent: (u, v) => Math.min(0.95 - length(u, v), length(u - 0.45, v) - 0.72),
  bar: (u, v) => box(u, v, 0.98, 0.27),
  hourglass: (u, v) => Math.min(0.85 - Math.abs(v), 0.74 * (0.08 + 0.9 * Math.abs(v) - Math.abs(u))),
  ell: (u, v) => Math.max(box(u + 0.5, v, 0.26, 0.85), box(u, v - 0.6, 0.76, 0.26)),
};

export const shapes10Classes: readonly string[] = Object.keys(shapes);
const insides: readonly Inside[] = Object.values(shapes);

/** Components in [0, 255]. */
type Colour = readonly [number, number, number];

const colour = (draw: Counter): Colour => [draw.uniform() * 255, draw.uniform() * 255, draw.uniform() * 255];

/** Rec. 601 luma, in [0, 255]. */
const luma = ([r, g, b]: Colour): number => 0.299 * r + 0.587 * g + 0.114 * b;

/** Least difference in luma between a shape and its ground, so that slope and noise do not drown the outline. */
const CONTRAST = 130;

/** Two colours to tell apart, of which the first is as often the darker as the lighter. */
function contrastingPair(draw: Counter): readonly [Colour, Colour] {
  for (;;) {
    const [a, b] = [colour(draw), colour(draw)];
    if (Math.abs(luma(a) - luma(b)) >= CONTRAST) return [a, b];
  }
}

/** A rotation by an angle whose half has a tangent of at most `limit`, either way, as (cos, sin). */
function rotation(draw: Counter, limit: number): readonly [number, number] {
  const t = (draw.uniform() * 2 - 1) * limit;
  return [(1 - t * t) / (1 + t * t), (2 * t) / (1 + t * t)];
}

// The loops over pixels allocate nothing: 12,000 images are drawn before a run's first step.
const row = new Float64Array(SIDE);
const noiseWords = new Uint32Array((3 * PLANE) / 4);
const noiseBytes = new Uint8Array(noiseWords.buffer);
const noiseLevels = new Float64Array(256);

/** `base` with a slope of up to 20 levels from the middle to each edge, its own for each colour. */
function fillBackground(pixels: Float32Array, base: Colour, draw: Counter): void {
  let i = 0;
  for (const level of base) {
    const dx = ((draw.uniform() * 2 - 1) * 20) / (SIDE / 2);
    const dy = ((draw.uniform() * 2 - 1) * 20) / (SIDE / 2);
    for (let x = 0; x < SIDE; x++) row[x] = level + dx * (x - SIDE / 2);
    for (let y = 0; y < SIDE; y++) {
      const down = dy * (y - SIDE / 2);
      for (let x = 0; x < SIDE; x++) pixels[i++] = (row[x] as number) + down;
    }
  }
}

/** Paints a shape of `radius` pixels around (x0, y0), turned; each pixel by the share of it that is covered. */
function paintShape(
  pixels: Float32Array,
  inside: Inside,
  [red, green, blue]: Colour,
  [x0, y0, radius]: readonly [number, number, number],
  [cos, sin]: readonly [number, number],
): void {
  const reach = radius * 1.2 + 1;
  const [left, right] = [Math.max(0, Math.floor(x0 - reach)), Math.min(SIDE - 1, Math.ceil(x0 + reach))];
  const [top, bottom] = [Math.max(0, Math.floor(y0 - reach)), Math.min(SIDE - 1, Math.ceil(y0 + reach))];
  for (let y = top; y <= bottom; y++) {
    const dy = (y - y0) / radius;
    for (let x = left; x <= right; x++) {
      const dx = (x - x0) / radius;
      const cover = Math.min(1, 0.5 + radius * inside(cos * dx + sin * dy, cos * dy - sin * dx));
      if (cover <= 0) continue;
      const i = y * SIDE + x;
      const rest = 1 - cover;
      pixels[i] = (pixels[i] as number) * rest + red * cover;
      pixels[i + PLANE] = (pixels[i + PLANE] as number) * rest + green * cover;
      pixels[i + 2 * PLANE] = (pixels[i + 2 * PLANE] as number) * rest + blue * cover;
    }
  }
}

/** Rounds `pixels` to bytes after adding uniform noise of up to +-`amplitude` levels; one hash is noise for 16 bytes. */
function addNoise(
  pixels: Float32Array,
  amplitude: number,
  seed: number,
  step: number,
  image: Uint8ClampedArray,
): void {
  for (let i = 0; i < noiseBytes.length; i += 16)
    hashInto(noiseWords, i >> 2, seed, stream.shapes, step, NOISE + i);
  for (let byte = 0; byte < noiseLevels.length; byte++) noiseLevels[byte] = amplitude * (byte / 127.5 - 1);
  for (let i = 0; i < pixels.length; i++)
    image[i] = (pixels[i] as number) + (noiseLevels[noiseBytes[i] as number] as number);
}

/** Limits of `rotation`: a quarter turn either way, which is any angle of a stroke, and 20 degrees. */
const ANY_ANGLE = 1;
const TILT = 0.17632698070846498;

/** First counter of the noise: no image draws as many parameters before it. */
const NOISE = 1 << 16;

const dot: Inside = shapes.disc as Inside;
const stroke: Inside = (u, v) => box(u, v, 1, 0.12);

/**
 * Images `0..count-1` of a split as bytes (count * 3 * 32 * 32, CHW), with their labels: every class equally often,
 * in turn. More images of the same seed begin with the same images.
 */
export function generateShapes10(
  split: 'train' | 'test',
  count: number,
  seed = 0,
): { images: Uint8Array; labels: Uint8Array } {
  const images = new Uint8ClampedArray(count * 3 * PLANE);
  const labels = new Uint8Array(count);
  const pixels = new Float32Array(3 * PLANE);
  for (let i = 0; i < count; i++) {
    const label = i % insides.length;
    const step = 2 * i + (split === 'test' ? 1 : 0);
    const draw = new Counter(seed, stream.shapes, step);
    const between = (low: number, high: number): number => low + (high - low) * draw.uniform();

    const [ground, paint] = contrastingPair(draw);
    fillBackground(pixels, ground, draw);
    for (let n = draw.below(3); n > 0; n--) {
      const [mark, size] = draw.below(2) ? [dot, between(1.2, 2.4)] : [stroke, between(4, 7)];
      const where = [between(0, SIDE), between(0, SIDE), size] as const;
      paintShape(pixels, mark, colour(draw), where, rotation(draw, ANY_ANGLE));
    }
    const where = [MIDDLE + between(-3, 3), MIDDLE + between(-3, 3), between(9, 13)] as const;
    paintShape(pixels, insides[label] as Inside, paint, where, rotation(draw, TILT));
    addNoise(pixels, between(3, 10), seed, step, images.subarray(i * 3 * PLANE, (i + 1) * 3 * PLANE));
    labels[i] = label;
  }
  return { images: new Uint8Array(images.buffer), labels };
}
