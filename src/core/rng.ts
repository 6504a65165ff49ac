/**
 * Counter-based random numbers: a pure function of (seed, stream, step, element), with no state to save or lose.
 * The hash is pcg4d (Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020): four 32-bit words in,
 * four out. kernels/lib/random.wgsl has the same function, and a test compares the two.
 */

/** One stream per independent use, so that no two uses ever see the same counter. */
export const stream = {
  init: 1,
  shuffle: 2,
  augment: 3,
  shapes: 5,
  split: 6,
  resize: 7,
  policy: 8,
  erase: 9,
  noise: 10,
  mix: 11,
  flip: 12,
  tokens: 13,
  sample: 14,
  pair: 15,
} as const;

export type Words = [number, number, number, number];

/** The hash, written into `words` from the index `at` on: a loop that needs many allocates nothing. */
export function hashInto(
  words: Uint32Array,
  at: number,
  seed: number,
  streamId: number,
  step: number,
  element: number,
): void {
  let x = (Math.imul(seed, 1664525) + 1013904223) | 0;
  let y = (Math.imul(streamId, 1664525) + 1013904223) | 0;
  let z = (Math.imul(step, 1664525) + 1013904223) | 0;
  let w = (Math.imul(element, 1664525) + 1013904223) | 0;
  x = (x + Math.imul(y, w)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  w = (w + Math.imul(y, z)) | 0;
  x ^= x >>> 16;
  y ^= y >>> 16;
  z ^= z >>> 16;
  w ^= w >>> 16;
  x = (x + Math.imul(y, w)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  w = (w + Math.imul(y, z)) | 0;
  words[at] = x;
  words[at + 1] = y;
  words[at + 2] = z;
  words[at + 3] = w;
}

const hashed = new Uint32Array(4);

export function pcg4d(seed: number, streamId: number, step: number, element: number): Words {
  hashInto(hashed, 0, seed, streamId, step, element);
  return [hashed[0] as number, hashed[1] as number, hashed[2] as number, hashed[3] as number];
}

/** Top 24 bits as a float in [0, 1): exact in float32, the same value in WGSL. */
export const unit = (word: number): number => (word >>> 8) / 16777216;

/** A sequence view of one (seed, stream, step): the i-th draw is a function of i alone. */
export class Counter {
  constructor(
    private readonly seed: number,
    private readonly streamId: number,
    private readonly step = 0,
    /** The first element. Two counters of one step share no draw if they start far enough apart. */
    private element = 0,
  ) {}

  /** A counter of the same seed, for another use. */
  other(streamId: number, step: number, element = 0): Counter {
    return new Counter(this.seed, streamId, step, element);
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return unit(pcg4d(this.seed, this.streamId, this.step, this.element++)[0]);
  }

  /** Uniform integer in [0, n). */
  below(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Uniform in [low, high). */
  between(low: number, high: number): number {
    return low + (high - low) * this.uniform();
  }

  /** Standard normal, by Box and Muller. */
  normal(): number {
    const words = pcg4d(this.seed, this.streamId, this.step, this.element++);
    return Math.sqrt(-2 * Math.log(1 - unit(words[0]))) * Math.cos(2 * Math.PI * unit(words[1]));
  }
}

/** A permutation of 0..n-1 by Fisher and Yates. */
export function permutation(n: number, seed: number, streamId: number, step: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  for (let i = n - 1; i > 0; i--) {
    const words = pcg4d(seed, streamId, step, i);
    // 48 bits over i + 1 choices: the bias is below 2^-31 for any data set that fits a GPU.
    const j = Math.floor(((words[0] * 65536 + (words[1] >>> 16)) / 281474976710656) * (i + 1));
    const t = order[i] as number;
    order[i] = order[j] as number;
    order[j] = t;
  }
  return order;
}
