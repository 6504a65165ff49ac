/**
 * Mimetic initialisation of self-attention (Trockman and Kolter, 2023, arXiv 2305.09828): products of weights start as they
 * look in trained networks. With d the width and Z a matrix of normal numbers of variance 1/d,
 *   W_Q · W_Kᵀ ≈ 0.7 Z + 0.7 I in each head, and W_V · W_proj = 0.4 Z − 0.4 I over all heads:
 * queries look for keys of their own token, and the residual branch begins by taking from the stream.
 */
import { balancedFactors, type Factors } from '../core/factors.js';
import { type Counter, stream } from '../core/rng.js';
import type { Init } from '../tensor/parameter.js';

/** The product of two weights is `spread` · Z + `diagonal` · I. */
interface Product {
  readonly spread: number;
  readonly diagonal: number;
}

const QUERY_KEY: Product = { spread: 0.7, diagonal: 0.7 };
const VALUE_OUTPUT: Product = { spread: 0.4, diagonal: -0.4 };

/** The weights of the qkv and output projections of a block. */
export interface MimeticInit {
  readonly qkv: Init; // (3d, d): queries, keys and values, head by head
  readonly proj: Init; // (d, d)
}

/**
 * The weights of both projections of attention. Values and output projection are factors of one matrix, so both are drawn
 * by a counter that depends on the number of the `block` and not on the parameter: they agree, and neither waits for the
 * other. In each head, queries and keys are the best factors of rank head_dim. Attention divides their product by √head_dim,
 * as in the paper. Layers multiply by weightᵀ, so a weight (out, in) is the transpose of the paper's matrix.
 */
export function mimeticAttention(heads: number, block: number): MimeticInit {
  /** The factors of the matrix that is drawn as number `place` of the block. */
  const factorsOf = (random: Counter, d: number, place: number, rank: number, product: Product): Factors =>
    balancedFactors(drawn(random.other(stream.pair, block, place * d * d), d, product), d, rank);
  return {
    qkv: (random, [, width]) => {
      const d = width as number;
      const weight = new Float64Array(3 * d * d);
      const headSize = (d / heads) * d;
      for (let head = 0; head < heads; head++) {
        const { left, right } = factorsOf(random, d, head, d / heads, QUERY_KEY);
        weight.set(left, head * headSize);
        weight.set(right, d * d + head * headSize);
      }
      weight.set(factorsOf(random, d, heads, d, VALUE_OUTPUT).left, 2 * d * d);
      return (i) => weight[i] as number;
    },
    proj: (random, [width]) => {
      const d = width as number;
      const { right } = factorsOf(random, d, heads, d, VALUE_OUTPUT);
      return (i) => right[(i % d) * d + Math.floor(i / d)] as number;
    },
  };
}

/** spread · Z + diagonal · I, (d, d). */
function drawn(random: Counter, d: number, { spread, diagonal }: Product): Float64Array {
  const scale = spread / Math.sqrt(d);
  const matrix = Float64Array.from({ length: d * d }, () => scale * random.normal());
  for (let i = 0; i < d; i++) matrix[i * d + i] = (matrix[i * d + i] as number) + diagonal;
  return matrix;
}
