import backwardSource from '../../kernels/tokens/keep_tokens_backward.wgsl';
import forwardSource from '../../kernels/tokens/keep_tokens_forward.wgsl';
import placesSource from '../../kernels/tokens/token_places_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { pcg4d } from '../core/rng.js';
import { formatShape, need } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';

const placesKernel = defineKernel('token_places_forward', placesSource);
const forwardKernel = defineKernel('keep_tokens_forward', forwardSource);
const backwardKernel = defineKernel('keep_tokens_backward', backwardSource);

interface Attrs {
  /** Number of tokens at the front that are always kept. */
  readonly prefix: number;
  /** Number of the other tokens, the patches, that are kept. */
  readonly kept: number;
  /** The random stream of this use. */
  readonly stream: number;
}

type Tokens = readonly [number, number, number];

/** The place in the output of each of the N tokens of image b; the tokens whose place is not below prefix + kept are dropped. */
export function tokenPlaces(
  [seed, step]: readonly [number, number],
  { prefix, stream }: Pick<Attrs, 'prefix' | 'stream'>,
  N: number,
  b: number,
): number[] {
  const quads = Math.ceil((N - prefix) / 4);
  const words = Array.from(
    { length: N - prefix },
    (_, m) => pcg4d(seed, stream, step, b * quads + Math.floor(m / 4))[m % 4] as number,
  );
  const ranked = words.map((word, m) => ({ word, m })).sort((one, other) => one.word - other.word);
  const places = Array.from({ length: N }, (_, n) => n);
  for (const [rank, { m }] of ranked.entries()) places[prefix + m] = prefix + rank;
  return places;
}

const sizesOf = ([B, N, C]: Tokens, { prefix, kept }: Attrs) => ({ B, N, M: prefix + kept, C });

const row = (x: Tokens, prefix: number, kept: number) => ({
  inputs: { x, key: { u32: [2], below: 4294967296 } },
  attrs: { prefix, kept, stream: 20 },
});

export const keepTokensOp = defineOp({
  name: 'keep_tokens',
  inputs: ['x', 'key'],
  formula:
    'y[b] = (x[b, 0], …, x[b, prefix − 1], a random choice of `kept` of the other tokens),   x (B, N, C), y (B, prefix + kept, C)',
  shape: ({ x }, { prefix, kept }: Attrs) => {
    need(x.length === 3, 'keep_tokens', `x ${formatShape(x)} must be (B, N, C).`);
    const [B, N, C] = x as Tokens;
    need(
      kept >= 1 && prefix + kept <= N,
      'keep_tokens',
      `x ${formatShape(x)} must have ${prefix} tokens and then at least ${kept}, which must be at least 1.`,
    );
    return [B, prefix + kept, C];
  },
  forward: ({ x, key }, y, attrs) => {
    const { prefix, stream } = attrs;
    const { B, N, M, C } = sizesOf(x.shape as Tokens, attrs);
    const places = Tensor.empty(x.gpu, [B, N], 'u32', 'keep_tokens.places');
    x.gpu.run(placesKernel, { key, places }, { B, N, prefix, stream }, B);
    x.gpu.run(forwardKernel, { x, places, y }, { B, N, M, C }, B * N);
    return { places };
  },
  backward: ({ saved: { places }, dy, attrs, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const { B, N, M, C } = sizesOf(dx.shape as Tokens, attrs);
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, { dy, places, dx }, { B, N, M, C }, B * N, { overrides });
  },
  needs: {},
  differentiable: ['x'],
  flops: () => 0,
  reference: ({ x, key }, shapes, attrs) => {
    const { B, N, M, C } = sizesOf(shapes.x as Tokens, attrs);
    const y = new Float64Array(B * M * C);
    for (let b = 0; b < B; b++)
      for (const [n, place] of tokenPlaces([key[0]!, key[1]!], attrs, N, b).entries())
        if (place < M) y.set(x.subarray((b * N + n) * C, (b * N + n + 1) * C), (b * M + place) * C);
    return y;
  },
  samples: [
    row([1, 1, 1], 0, 1),
    row([2, 5, 7], 1, 2),
    row([3, 66, 4], 2, 32),
    row([67, 5, 3], 0, 3),
    row([2, 257, 4], 1, 100),
    row([5, 4, 257], 1, 3),
  ],
  bench: [row([64, 65, 192], 1, 32)],
  errors: [
    {
      shapes: { x: [2, 5, 4], key: [2] },
      attrs: { prefix: 2, kept: 4, stream: 0 },
      says: /\[keep_tokens\] x \(2, 5, 4\) must have 2 tokens and then at least 4/,
    },
    {
      shapes: { x: [2, 5], key: [2] },
      attrs: { prefix: 0, kept: 1, stream: 0 },
      says: /must be \(B, N, C\)/,
    },
  ],
});

/**
 * PatchDropout (Liu et al., 2022, arXiv 2208.07220): the first `prefix` tokens of every image x (B, N, C), and a random choice
 * of `kept` of its others, anew for each image and step, in random order. `key` (2) of u32 holds seed and step.
 */
export const keepTokens = (x: Tensor, key: Tensor, attrs: Attrs): Tensor =>
  apply(keepTokensOp, { x, key }, attrs);
