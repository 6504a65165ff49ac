/** Attention weights, recomputed in float64 because the fused op never writes them, and their rollout over the layers. */

/** The queries, keys and values of one image in one layer: qkv (N, 3·H·head_dim), packed as in timm. */
export interface PackedAttention {
  readonly qkv: ArrayLike<number>;
  readonly tokens: number;
  readonly heads: number;
  /** True if no token attends to itself. */
  readonly masked?: boolean;
}

const headDim = ({ qkv, tokens, heads }: PackedAttention): number => qkv.length / tokens / 3 / heads;

/** The index in qkv of a token's query, key or value (`part` 0, 1 or 2) for one head. */
const offset = (packed: PackedAttention, token: number, part: number, head: number): number =>
  ((token * 3 + part) * packed.heads + head) * headDim(packed);

/** softmax_j(q[i]·k[j] / √head_dim), without j = i if masked: a matrix (N, N) for each head. Each row sums to 1. */
export function attentionWeights(packed: PackedAttention): Float64Array[] {
  const { qkv, tokens: N, heads } = packed;
  const d = headDim(packed);
  return Array.from({ length: heads }, (_, h) => {
    const weights = new Float64Array(N * N);
    for (let i = 0; i < N; i++) {
      const q = offset(packed, i, 0, h);
      const row = weights.subarray(i * N, (i + 1) * N);
      for (let j = 0; j < N; j++) {
        const k = offset(packed, j, 1, h);
        for (let c = 0; c < d; c++) row[j]! += (qkv[q + c]! * qkv[k + c]!) / Math.sqrt(d);
      }
      if (packed.masked) row[i] = Number.NEGATIVE_INFINITY;
      const highest = Math.max(...row);
      for (let j = 0; j < N; j++) row[j] = Math.exp(row[j]! - highest);
      divideBySum(row);
    }
    return weights;
  });
}

function divideBySum(row: Float64Array): void {
  const sum = row.reduce((total, value) => total + value, 0);
  for (let j = 0; j < row.length; j++) row[j]! /= sum;
}

/** The elementwise mean of matrices of one size. */
export function meanOf(matrices: readonly Float64Array[]): Float64Array {
  return (matrices[0] as Float64Array).map(
    (_, i) => matrices.reduce((sum, matrix) => sum + matrix[i]!, 0) / matrices.length,
  );
}

/**
 * Attention rollout (Abnar and Zuidema, 2020): R = A'_L · … · A'_1 with A' = 0.5 A + 0.5 I, rows divided by their sums.
 * A (N, N) is a layer's attention averaged over heads; `layers` starts with the first layer. R[i][j] says how much of
 * input token j reaches output token i. It counts residual branches and ignores MLPs.
 */
export function rollout(layers: readonly Float64Array[], N: number): Float64Array {
  const identity = Float64Array.from({ length: N * N }, (_, i) => (i % (N + 1) === 0 ? 1 : 0));
  return layers.reduce((below, attention) => {
    const mixed = attention.map((a, i) => 0.5 * a + 0.5 * identity[i]!);
    for (let i = 0; i < N; i++) divideBySum(mixed.subarray(i * N, (i + 1) * N));
    return product(mixed, below, N);
  }, identity);
}

function product(a: Float64Array, b: Float64Array, N: number): Float64Array {
  const c = new Float64Array(N * N);
  for (let i = 0; i < N; i++)
    for (let k = 0; k < N; k++) for (let j = 0; j < N; j++) c[i * N + j]! += a[i * N + k]! * b[k * N + j]!;
  return c;
}

/**
 * How much the classifier's input takes from each patch, from a matrix (N, N): the row of the class token or, with mean
 * pooling, the mean of the patches' rows. The class token and registers stand before the patches (timm's order). No map
 * has columns for them, and mean pooling leaves their rows out.
 */
export function overPatches(
  matrix: Float64Array,
  N: number,
  patches: number,
  pool: 'cls' | 'mean',
): Float64Array {
  const prefix = N - patches;
  const row = (i: number) => matrix.subarray(i * N + prefix, (i + 1) * N);
  return pool === 'cls' ? row(0).slice() : meanOf(Array.from({ length: patches }, (_, i) => row(prefix + i)));
}
