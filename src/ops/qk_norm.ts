/** Normalisation of queries and keys (Dehghani et al., 2023) in the packed qkv: layer_norm of every head, values untouched. */
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { wholeGrad } from './gradients.js';
import { layerNormBackward, layerNormForward, normalisedRow } from './layer_norm.js';
import { copyTokens } from './tokens.js';

interface Attrs {
  readonly heads: number;
  readonly eps: number;
}

/** What is normalised of the three parts of qkv; the values are not. */
const QUERIES = 0;
const KEYS = 1;

/** A tensor (B, N, 3·C) as the rows of its parts, (B·N, 3, C). */
function byParts(qkv: Tensor): Tensor {
  const width = qkv.shape.at(-1) as number;
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

/** The way back of `headsOf`. */
function putHeads(from: Tensor, qkv: Tensor, part: number): void {
  const parts = byParts(qkv);
  const [rows, , C] = parts.shape as [number, number, number];
  copyTokens(from.view([rows, 1, C]), parts, { count: 1, source: 0, to: part });
}

export const qkNormOp = defineOp<Attrs>({
  name: 'qk_norm',
  formula:
    'qkv with layer_norm of every head of q and of k,   qkv (B, N, 3·H·head_dim), weights and biases (head_dim)',
  shape: (shapes, { heads }) => {
    const [qkv, ...affine] = shapes as [Shape, ...Shape[]];
    const width = qkv.at(-1) as number;
    need(
      qkv.length === 3 && width % (3 * heads) === 0,
      'qk_norm',
      `qkv ${formatShape(qkv)} must be (B, N, 3·C) with C divisible by ${heads} heads.`,
    );
    const head = width / 3 / heads;
    for (const s of affine)
      need(
        s.length === 1 && s[0] === head,
        'qk_norm',
        `a weight or bias ${formatShape(s)} must have one value for each of the ${head} channels of a head.`,
      );
    return qkv;
  },
  forward: ([qkv, ...affine], y, { heads, eps }) => {
    const x = qkv as Tensor;
    x.gpu.copy(x, y);
    return [QUERIES, KEYS].map((part) => {
      const [weight, bias] = affine.slice(2 * part) as [Tensor, Tensor];
      const rows = headsOf(x, part, heads);
      const normal = Tensor.empty(x.gpu, rows.shape, 'f32', 'qk_norm.normal');
      const stats = layerNormForward(rows, weight, bias, normal, eps);
      putHeads(normal, y, part);
      return stats;
    });
  },
  backward: (call) => {
    const { inputs, saved, dy, attrs, wants, grad } = call;
    const qkv = inputs[0] as Tensor;
    const place = (i: number) => (wants(i) ? grad(i) : null);
    wholeGrad(call, 0, (dqkv) => {
      dy.gpu.copy(dy, dqkv);
      for (const part of [QUERIES, KEYS]) {
        const first = 1 + 2 * part;
        const x = headsOf(qkv, part, attrs.heads);
        const dx = Tensor.empty(x.gpu, x.shape, 'f32', 'qk_norm.dx');
        layerNormBackward(
          {
            x,
            weight: inputs[first] as Tensor,
            stats: saved[part] as Tensor,
            dy: headsOf(dy, part, attrs.heads),
          },
          { dx: { tensor: dx, accumulate: false }, dweight: place(first), dbias: place(first + 1) },
        );
        putHeads(dx, dqkv, part);
      }
    });
  },
  needs: { inputs: [0, 1, 3] },
  flops: ([qkv]) => (16 * numel(qkv as Shape)) / 3,
  reference: ([qkv, ...affine], [shape], { heads, eps }) => {
    const y = Float64Array.from(qkv as Float64Array);
    const head = (shape!.at(-1) as number) / 3 / heads;
    for (let start = 0; start < y.length; start += head) {
      const part = Math.floor(start / head / heads) % 3;
      if (part > KEYS) continue;
      const [weight, bias] = affine.slice(2 * part) as [Float64Array, Float64Array];
      y.set(normalisedRow(y.subarray(start, start + head), weight, bias, eps), start);
    }
    return y;
  },
  samples: [
    [1, 1, 1, 2],
    [2, 3, 2, 7],
    [3, 5, 3, 8],
    [2, 65, 2, 16],
  ].map(([B, N, heads, head]) => ({
    inputs: [[B!, N!, 3 * heads! * head!], ...Array.from({ length: 4 }, () => [head!])],
    attrs: { heads: heads!, eps: 1e-6 },
  })),
  bench: [{ inputs: [[64, 65, 576], [64], [64], [64], [64]], attrs: { heads: 3, eps: 1e-6 } }],
  errors: [
    {
      shapes: [[2, 3, 10], [5], [5], [5], [5]],
      attrs: { heads: 1, eps: 1e-6 },
      says: /\[qk_norm\] qkv \(2, 3, 10\)/,
    },
    {
      shapes: [[2, 3, 12], [2], [2], [2], [4]],
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
  apply(qkNormOp, [qkv, q.weight, q.bias, k.weight, k.bias], { heads, eps });
