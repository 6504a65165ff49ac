import { autocasting } from '../autograd/autocast.js';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, type Shape } from '../core/shape.js';
import type { Choice, Family } from '../gpu/tuning.js';
import { Tensor } from '../tensor/tensor.js';
import { type AttentionSizes, forwards, keyBackwards, queryBackwards, rowsOf } from './attention_kernels.js';
import { groupsFor } from './common.js';
import { keepMask } from './dropout.js';
import { wholeGrad } from './gradients.js';

export interface AttentionAttrs {
  readonly heads: number;
  /** Probability of dropping an attention weight; 0 for none. */
  readonly rate: number;
  /** The random stream of this layer's mask. */
  readonly stream: number;
}

function sizesOf(qkv: Shape, { heads }: AttentionAttrs): Pick<AttentionSizes, 'B' | 'N' | 'H' | 'head'> {
  const [B, N, width] = qkv as [number, number, number];
  return { B, N, H: heads, head: width / 3 / heads };
}

/** By the kernels' names; o, dout and dqkv are of qkv's type. */
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
  const { rate, stream } = attrs;
  const params = { N, H, head, stream, rate, scale: 1 / Math.sqrt(head) };
  const groups = [groupsFor(N, rowsOf(choice)), H, B] as const;
  qkv.gpu.run(kernel, operands, params, groups, { tune, overrides: { DROPOUT: rate > 0 } });
}

export const attentionOp = defineOp<AttentionAttrs>({
  name: 'attention',
  formula:
    'o[i] = Σ_j dropout(softmax_j(q[i]·k[j] / √head_dim)) v[j],   qkv (B, N, 3·H·head_dim), o (B, N, H·head_dim)',
  shape: ([qkv], { heads }) => {
    const s = qkv as Shape;
    need(s.length === 3, 'attention', `qkv ${formatShape(s)} must be (B, N, 3·C).`);
    const width = s[2] as number;
    need(
      width % (3 * heads) === 0,
      'attention',
      `last axis of qkv ${formatShape(s)} must divide by 3 times ${heads} heads.`,
    );
    return [s[0] as number, s[1] as number, width / 3];
  },
  dtype: ([qkv]) => (qkv as Tensor).dtype,
  halves: [0],
  forward: ([qkv, key], o, attrs) => {
    const { B, N, H } = sizesOf((qkv as Tensor).shape, attrs);
    const lse = Tensor.empty(o.gpu, [B, H, N], 'f32', 'attention.lse');
    runAttention(forwards, { qkv: qkv as Tensor, key: key ?? (qkv as Tensor), o, lse }, attrs);
    return [lse];
  },
  backward: (call) => {
    const [qkv, key = qkv] = call.inputs as [Tensor, Tensor?]; // a kernel that drops nothing reads no key
    const { output: o, dy: dout, attrs } = call;
    const lse = call.saved[0] as Tensor;
    const delta = Tensor.empty(qkv.gpu, lse.shape, 'f32', 'attention.delta');
    wholeGrad(call, 0, (dqkv) => {
      runAttention(queryBackwards, { qkv, key, o, dout, lse, delta, dqkv }, attrs);
      runAttention(keyBackwards, { qkv, key, dout, lse, delta, dqkv }, attrs);
    });
  },
  needs: { inputs: [0, 1], output: true },
  differentiable: [0],
  flops: ([qkv], attrs) => {
    const { B, N, H, head } = sizesOf(qkv as Shape, attrs);
    return 4 * B * H * N * N * head;
  },
  reference: ([qkv, key], [shape], attrs) => {
    const { B, N, H, head } = sizesOf(shape as Shape, attrs);
    const x = qkv as Float64Array;
    const o = new Float64Array(B * N * H * head);
    const at = (b: number, n: number, part: number, h: number) =>
      ((b * N + n) * 3 + part) * H * head + h * head;
    const quads = Math.ceil(N / 4);
    for (let b = 0; b < B; b++)
      for (let h = 0; h < H; h++)
        for (let i = 0; i < N; i++) {
          const scores = Array.from({ length: N }, (_, j) => {
            let dot = 0;
            for (let d = 0; d < head; d++) dot += x[at(b, i, 0, h) + d]! * x[at(b, j, 1, h) + d]!;
            return dot / Math.sqrt(head);
          });
          const highest = Math.max(...scores);
          const weights = scores.map((s) => Math.exp(s - highest));
          const mass = weights.reduce((sum, w) => sum + w, 0);
          for (let j = 0; j < N; j++) {
            const draw = ((b * H + h) * N + i) * quads * 4 + j;
            const weight = (weights[j]! / mass) * keepMask(key as Float64Array, attrs, draw);
            for (let d = 0; d < head; d++)
              o[((b * N + i) * H + h) * head + d]! += weight * x[at(b, j, 2, h) + d]!;
          }
        }
    return o;
  },
  samples: [
    [1, 1, 1, 4, 0],
    [2, 3, 2, 5, 0],
    [1, 16, 1, 8, 0],
    [2, 17, 3, 8, 0],
    [1, 65, 2, 12, 0],
    [1, 7, 2, 64, 0],
    [1, 33, 1, 32, 0],
    [2, 7, 2, 4, 0.3],
    [1, 18, 2, 8, 0.5],
    [1, 5, 1, 3, 0.2],
    [1, 5, 1, 68, 0],
  ].map(([B, N, H, head, rate]) => ({
    // The key is left out where nothing is dropped.
    inputs: [[B!, N!, 3 * H! * head!], ...(rate! > 0 ? [{ u32: [2], below: 1000 }] : [])],
    attrs: { heads: H!, rate: rate!, stream: 20 },
  })),
  bench: [{ inputs: [[64, 65, 576]], attrs: { heads: 3, rate: 0, stream: 20 } }],
  errors: [
    {
      shapes: [[2, 3, 10], [2]],
      attrs: { heads: 2, rate: 0, stream: 0 },
      says: /\[attention\] last axis of qkv \(2, 3, 10\)/,
    },
  ],
});

/** Scaled dot-product attention of all heads: qkv (B, N, 3·H·head_dim), as timm packs it, to (B, N, H·head_dim). */
export function attention(
  qkv: Tensor,
  heads: number,
  dropout?: { rate: number; stream: number; key: Tensor },
): Tensor {
  if (!dropout) return apply(attentionOp, [qkv], { heads, rate: 0, stream: 0 });
  const { rate, stream, key } = dropout;
  return apply(attentionOp, [qkv, key], { heads, rate, stream });
}
