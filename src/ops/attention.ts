import forward from '../../kernels/attention_forward.wgsl';
import forwardTexture from '../../kernels/attention_forward_texture.wgsl';
import keyBackward from '../../kernels/attention_key_backward.wgsl';
import keyBackwardTexture from '../../kernels/attention_key_backward_texture.wgsl';
import queryBackward from '../../kernels/attention_query_backward.wgsl';
import queryBackwardTexture from '../../kernels/attention_query_backward_texture.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { type Family, MAX_TEXELS, softwareLanes } from '../gpu/tuning.js';
import { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG } from './common.js';
import { keepMask } from './dropout.js';
import { wholeGrad } from './gradients.js';

interface Attrs {
  readonly heads: number;
  /** Probability of dropping an attention weight; 0 for none. */
  readonly rate: number;
  /** The random stream of this layer's mask. */
  readonly stream: number;
}

interface Sizes {
  readonly B: number;
  readonly N: number;
  readonly H: number;
  readonly head: number;
}

function family(kernelName: string, texture: string, plain: string): Family<Sizes> {
  return {
    name: kernelName,
    variants: [
      {
        kernel: defineKernel(`${kernelName}_texture`, texture),
        tune: (adapter, { B, N, H, head }) => {
          const lanes = softwareLanes(adapter);
          const fits = head % 4 === 0 && head <= 64 && B * N * 3 * H * head <= 4 * MAX_TEXELS;
          return lanes > 0 && fits ? { LANES: lanes, HEAD4: head / 4 } : null;
        },
      },
      { kernel: defineKernel(kernelName, plain), tune: (_, { head }) => ({ HEAD: head }) },
    ],
  };
}

const forwards = family('attention_forward', forwardTexture, forward);
const queryBackwards = family('attention_query_backward', queryBackwardTexture, queryBackward);
const keyBackwards = family('attention_key_backward', keyBackwardTexture, keyBackward);

function sizesOf(qkv: Shape, { heads }: Attrs): Sizes {
  const [B, N, width] = qkv as [number, number, number];
  return { B, N, H: heads, head: width / 3 / heads };
}

function run(
  kernels: Family<Sizes>,
  sizes: Sizes,
  { rate, stream }: Attrs,
  operands: Record<string, Tensor> & { qkv: Tensor },
): void {
  const { gpu } = operands.qkv;
  const { kernel, tune } = gpu.pick(kernels, sizes);
  const { B, N, H, head } = sizes;
  const params = { N, H, stream, rate, scale: 1 / Math.sqrt(head) };
  const rows = tune.LANES ?? ROW_WG;
  gpu.run(kernel, operands, params, [groupsFor(N, rows), H, B], { tune, overrides: { DROPOUT: rate > 0 } });
}

export const attentionOp = defineOp<Attrs>({
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
  forward: ([qkv, key], o, attrs) => {
    const sizes = sizesOf((qkv as Tensor).shape, attrs);
    const lse = Tensor.empty(o.gpu, [sizes.B, sizes.H, sizes.N], 'f32', 'attention.lse');
    run(forwards, sizes, attrs, { qkv: qkv as Tensor, key: key ?? (qkv as Tensor), o, lse });
    return [lse];
  },
  backward: (call) => {
    const [qkv, key = qkv] = call.inputs as [Tensor, Tensor?]; // a kernel that drops nothing reads no key
    const { output: o, dy: dout, attrs } = call;
    const lse = call.saved[0] as Tensor;
    const sizes = sizesOf(qkv.shape, attrs);
    const delta = Tensor.empty(qkv.gpu, lse.shape, 'f32', 'attention.delta');
    wholeGrad(call, 0, (dqkv) => {
      run(queryBackwards, sizes, attrs, { qkv, key, o, dout, lse, delta, dqkv });
      run(keyBackwards, sizes, attrs, { qkv, key, dout, lse, delta, dqkv });
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
