/** Normalisation of queries and keys (Dehghani et al., 2023) in the packed qkv: layer_norm of every head, values untouched. */
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel } from '../core/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { wholeGrad } from './gradients.js';
import { layerNormBackward, layerNormForward, normalisedRow } from './layer_norm.js';
import { copyTokens } from './tokens.js';

interface Attrs {
  readonly heads: number;
  readonly eps: number;
}

/** The normalised parts of qkv, and their places in it; the values, in place 2, are copied. */
const PLACES = { q: 0, k: 1 } as const;

/** A tensor (B, N, 3·C) as the rows of its parts, (B·N, 3, C). */
function byParts(qkv: Tensor): Tensor {
  const width = lastAxis(qkv.shape);
  return qkv.view([qkv.size / width, 3, width / 3]);
}

/** Queries or keys by themselves, a row a head: (B·N·heads, head_dim). */
function headsOf(qkv: Tensor, part: number, heads: number): Tensor {
  const parts = byParts(qkv);
  const [rows, , C] = parts.shape as [number, number, number];
  const copy = Tensor.empty(qkv.gpu, [rows, 1, C], 'f32', 'qk_norm.part');
  copyTokens(parts, copy, { count: 1, source: part, to: 0 });
  return copy.view([rows * heads, C / heads]);
}

/** Puts rows (B·N·heads, head_dim) back into their part of qkv: the inverse of `headsOf`. */
function putHeads(from: Tensor, qkv: Tensor, part: number): void {
  const parts = byParts(qkv);
  const [rows, , C] = parts.shape as [number, number, number];
  copyTokens(from.view([rows, 1, C]), parts, { count: 1, source: 0, to: part });
}

function row([B, N]: readonly [number, number], heads: number, head: number) {
  const parameters = { qWeight: [head], qBias: [head], kWeight: [head], kBias: [head] };
  return { inputs: { qkv: [B, N, 3 * heads * head], ...parameters }, attrs: { heads, eps: 1e-6 } };
}

export const qkNormOp = defineOp({
  name: 'qk_norm',
  inputs: ['qkv', 'qWeight', 'qBias', 'kWeight', 'kBias'],
  formula:
    'qkv with layer_norm of every head of q and of k,   qkv (B, N, 3·H·head_dim), weights and biases (head_dim)',
  shape: ({ qkv, ...affine }, { heads }: Attrs) => {
    const width = lastAxis(qkv);
    need(
      qkv.length === 3 && width % (3 * heads) === 0,
      'qk_norm',
      `qkv ${formatShape(qkv)} must be (B, N, 3·C) with C divisible by ${heads} heads.`,
    );
    const head = width / 3 / heads;
    for (const s of Object.values(affine))
      need(
        s.length === 1 && s[0] === head,
        'qk_norm',
        `a weight or bias ${formatShape(s)} must have one value for each of the ${head} channels of a head.`,
      );
    return qkv;
  },
  forward: ({ qkv, ...affine }, y, { heads, eps }) => {
    const { gpu } = qkv;
    gpu.copy(qkv, y);
    const normalise = (part: 'q' | 'k') => {
      const rows = headsOf(qkv, PLACES[part], heads);
      const normal = Tensor.empty(gpu, rows.shape, 'f32', 'qk_norm.normal');
      const stats = layerNormForward(rows, affine[`${part}Weight`], affine[`${part}Bias`], normal, eps);
      putHeads(normal, y, PLACES[part]);
      return stats;
    };
    return { q: normalise('q'), k: normalise('k') };
  },
  backward: ({ inputs: { qkv, ...affine }, saved: stats, attrs: { heads }, dy, grad, wanted }) =>
    wholeGrad(grad('qkv'), (dqkv) => {
      dy.gpu.copy(dy, dqkv);
      for (const part of ['q', 'k'] as const) {
        const x = headsOf(qkv, PLACES[part], heads);
        const dx = Tensor.empty(x.gpu, x.shape, 'f32', 'qk_norm.dx');
        layerNormBackward(
          { x, weight: affine[`${part}Weight`], stats: stats[part], dy: headsOf(dy, PLACES[part], heads) },
          {
            dx: { tensor: dx, accumulate: false },
            dweight: wanted(`${part}Weight`),
            dbias: wanted(`${part}Bias`),
          },
        );
        putHeads(dx, dqkv, PLACES[part]);
      }
    }),
  needs: { inputs: ['qkv', 'qWeight', 'kWeight'] },
  flops: ({ qkv }) => (16 * numel(qkv)) / 3,
  reference: ({ qkv, qWeight, qBias, kWeight, kBias }, shapes, { heads, eps }) => {
    const y = Float64Array.from(qkv);
    const head = lastAxis(shapes.qkv) / 3 / heads;
    for (let start = 0; start < y.length; start += head) {
      const place = Math.floor(start / head / heads) % 3;
      if (place > PLACES.k) continue;
      const [weight, bias] = place === PLACES.q ? [qWeight, qBias] : [kWeight, kBias];
      y.set(normalisedRow(y.subarray(start, start + head), weight, bias, eps), start);
    }
    return y;
  },
  samples: [row([1, 1], 1, 2), row([2, 3], 2, 7), row([3, 5], 3, 8), row([2, 65], 2, 16)],
  bench: [row([64, 65], 3, 64)],
  errors: [
    {
      shapes: { qkv: [2, 3, 10], qWeight: [5], qBias: [5], kWeight: [5], kBias: [5] },
      attrs: { heads: 1, eps: 1e-6 },
      says: /\[qk_norm\] qkv \(2, 3, 10\)/,
    },
    {
      shapes: { qkv: [2, 3, 12], qWeight: [2], qBias: [2], kWeight: [2], kBias: [4] },
      attrs: { heads: 2, eps: 1e-6 },
      says: /\[qk_norm\] a weight or bias \(4,\)/,
    },
  ],
});

/** The parameters of one normalisation, (head_dim) each. */
interface Affine {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

/** qkv (B, N, 3·C) with queries and keys normalised over the channels of every head: timm's q_norm and k_norm. */
export const qkNorm = (qkv: Tensor, q: Affine, k: Affine, heads: number, eps = 1e-6): Tensor =>
  apply(
    qkNormOp,
    { qkv, qWeight: q.weight, qBias: q.bias, kWeight: k.weight, kBias: k.bias },
    { heads, eps },
  );
