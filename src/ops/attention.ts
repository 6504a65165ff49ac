import { autocasting } from '../autograd/autocast.js';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, type Shape } from '../core/shape.js';
import type { Choice, Family } from '../gpu/variants.js';
import { Tensor } from '../tensor/tensor.js';
import { type AttentionSizes, forwards, keyBackwards, queryBackwards, rowsOf } from './attention_kernels.js';
import { groupsFor } from './common.js';
import { keepMask } from './dropout.js';
import { wholeGrad } from './gradients.js';

export interface AttentionAttrs {
  readonly heads: number;
  /** Probability of dropping an attention weight; 0 disables dropout. */
  readonly rate: number;
  /** The random stream of this layer's dropout. */
  readonly stream: number;
  /** True if a token does not attend to itself. */
  readonly masked?: boolean;
}

function sizesOf(
  qkv: Shape,
  { heads }: Pick<AttentionAttrs, 'heads'>,
): Pick<AttentionSizes, 'B' | 'N' | 'H' | 'head'> {
  const [B, N, width] = qkv as [number, number, number];
  return { B, N, H: heads, head: width / 3 / heads };
}

/** Tensors by their names in the kernels. o, dout and dqkv have qkv's dtype. */
export type AttentionOperands = Readonly<Record<string, Tensor>> & { readonly qkv: Tensor };

/** Runs one pass, by the kernel that suits the adapter or by a given one that can. */
export function runAttention(
  kernels: Family<AttentionSizes>,
  operands: AttentionOperands,
  attrs: AttentionAttrs,
  given?: Choice,
): void {
  const { qkv } = operands;
  const sizes = { ...sizesOf(qkv.shape, attrs), bits: qkv.bits, half: autocasting() };
  const choice = given ?? qkv.gpu.pick(kernels, sizes);
  const { kernel, tune } = choice;
  const { B, N, H, head } = sizes;
  const { rate, stream, masked = false } = attrs;
  const params = { N, H, head, stream, rate, scale: 1 / Math.sqrt(head) };
  const groups = [groupsFor(N, rowsOf(choice)), H, B] as const;
  qkv.gpu.run(kernel, operands, params, groups, { tune, overrides: { DROPOUT: rate > 0, MASKED: masked } });
}

/** Floating-point operations of the forward pass: two products of N x N x head_dim a head. */
function flopsOf(qkv: Shape, attrs: AttentionAttrs): number {
  const { B, N, H, head } = sizesOf(qkv, attrs);
  return 4 * B * H * N * N * head;
}

/** Five products for the forward pass's two: the backward pass computes the scores once more. */
const BACKWARD_FLOPS = 2.5;

/** Images and tokens, heads, channels of a head; the key is left out where nothing is dropped. */
const row = ([B, N]: readonly [number, number], heads: number, head: number, rate = 0, masked = false) => ({
  inputs: { qkv: [B, N, 3 * heads * head], key: rate > 0 ? { u32: [2], below: 1000 } : undefined },
  attrs: { heads, rate, stream: 20, masked },
});

export const attentionOp = defineOp({
  name: 'attention',
  inputs: ['qkv', 'key?'],
  formula:
    'o[i] = Σ_j dropout(softmax_j(q[i]·k[j] / √head_dim)) v[j], without j = i if masked,   qkv (B, N, 3·H·head_dim), o (B, N, H·head_dim)',
  shape: ({ qkv }, { heads, masked }: AttentionAttrs) => {
    need(qkv.length === 3, 'attention', `qkv ${formatShape(qkv)} must be (B, N, 3·C).`);
    const [B, N, width] = qkv as [number, number, number];
    need(
      width % (3 * heads) === 0,
      'attention',
      `last axis of qkv ${formatShape(qkv)} must divide by 3 times ${heads} heads.`,
    );
    need(
      !masked || N > 1,
      'attention',
      `qkv ${formatShape(qkv)} has one token, which must not attend to itself: there is nothing to attend to.`,
    );
    return [B, N, width / 3];
  },
  dtype: ({ qkv }) => qkv.dtype,
  halves: ['qkv'],
  // A kernel that drops nothing reads no key: any tensor can be bound in its place.
  forward: ({ qkv, key = qkv }, o, attrs) => {
    const { B, N, H } = sizesOf(qkv.shape, attrs);
    const lse = Tensor.empty(o.gpu, [B, H, N], 'f32', 'attention.lse');
    o.gpu.countFlops(flopsOf(qkv.shape, attrs));
    runAttention(forwards, { qkv, key, o, lse }, attrs);
    return { lse };
  },
  backward: ({ inputs: { qkv, key = qkv }, output: o, saved: { lse }, attrs, dy: dout, grad }) => {
    const delta = Tensor.empty(qkv.gpu, lse.shape, 'f32', 'attention.delta');
    qkv.gpu.countFlops(BACKWARD_FLOPS * flopsOf(qkv.shape, attrs));
    wholeGrad(grad('qkv'), (dqkv) => {
      runAttention(queryBackwards, { qkv, key, o, dout, lse, delta, dqkv }, attrs);
      runAttention(keyBackwards, { qkv, key, dout, lse, delta, dqkv }, attrs);
    });
  },
  needs: { inputs: ['qkv', 'key'], output: true },
  differentiable: ['qkv'],
  flops: ({ qkv }, attrs) => flopsOf(qkv, attrs),
  backwardFlops: BACKWARD_FLOPS,
  reference: ({ qkv: x, key = x }, shapes, attrs) => {
    const { B, N, H, head } = sizesOf(shapes.qkv, attrs);
    const o = new Float64Array(B * N * H * head);
    const at = (b: number, n: number, part: number, h: number) =>
      ((b * N + n) * 3 + part) * H * head + h * head;
    const quads = Math.ceil(N / 4);
    for (let b = 0; b < B; b++)
      for (let h = 0; h < H; h++)
        for (let i = 0; i < N; i++) {
          const scores = Array.from({ length: N }, (_, j) => {
            if (attrs.masked && i === j) return Number.NEGATIVE_INFINITY;
            let dot = 0;
            for (let d = 0; d < head; d++) dot += x[at(b, i, 0, h) + d]! * x[at(b, j, 1, h) + d]!;
            return dot / Math.sqrt(head);
          });
          const highest = Math.max(...scores);
          const weights = scores.map((s) => Math.exp(s - highest));
          const mass = weights.reduce((sum, w) => sum + w, 0);
          for (let j = 0; j < N; j++) {
            const draw = ((b * H + h) * N + i) * quads * 4 + j;
            const weight = (weights[j]! / mass) * keepMask(key, attrs, draw);
            for (let d = 0; d < head; d++)
              o[((b * N + i) * H + h) * head + d]! += weight * x[at(b, j, 2, h) + d]!;
          }
        }
    return o;
  },
  samples: [
    row([1, 1], 1, 4),
    row([2, 3], 2, 5),
    row([1, 16], 1, 8),
    row([2, 17], 3, 8),
    row([1, 65], 2, 12),
    row([1, 7], 2, 64),
    row([1, 33], 1, 32),
    row([2, 7], 2, 4, 0.3),
    row([1, 18], 2, 8, 0.5),
    row([1, 5], 1, 3, 0.2),
    row([1, 5], 1, 68),
    row([2, 2], 2, 4, 0, true),
    row([1, 35], 2, 8, 0.3, true),
    row([2, 9], 1, 5, 0, true),
    row([1, 66], 1, 32, 0, true),
  ],
  bench: [row([64, 65], 3, 64)],
  errors: [
    {
      shapes: { qkv: [2, 3, 10], key: [2] },
      attrs: { heads: 2, rate: 0, stream: 0 },
      says: /\[attention\] last axis of qkv \(2, 3, 10\)/,
    },
    {
      shapes: { qkv: [2, 1, 12], key: [2] },
      attrs: { heads: 2, rate: 0, stream: 0, masked: true },
      says: /\[attention\] qkv \(2, 1, 12\) has one token/,
    },
  ],
});

/**
 * Scaled dot-product attention of all heads (torch.nn.functional.scaled_dot_product_attention): qkv (B, N, 3·H·head_dim), as timm
 * packs it, of f32 or f16, to (B, N, H·head_dim). `dropout` drops attention weights; its `key` (2) of u32 holds seed and step.
 * With `masked` no token attends to itself (Lee, Lee and Song, 2021).
 */
export function attention(
  qkv: Tensor,
  heads: number,
  dropout?: { rate: number; stream: number; key: Tensor },
  masked = false,
): Tensor {
  const { rate = 0, stream = 0, key } = dropout ?? {};
  return apply(attentionOp, { qkv, key }, { heads, rate, stream, masked });
}
