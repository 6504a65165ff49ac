import copySource from '../../kernels/tokens/copy_tokens_forward.wgsl';
import meanBackward from '../../kernels/tokens/mean_tokens_backward.wgsl';
import meanForward from '../../kernels/tokens/mean_tokens_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { groupsFor, ROW_WG, tabulate } from './common.js';

const copyKernel = defineKernel('copy_tokens_forward', copySource);
const meanKernel = defineKernel('mean_tokens_forward', meanForward);
const meanBackwardKernel = defineKernel('mean_tokens_backward', meanBackward);

type Tokens = readonly [number, number, number];

interface CopyTokens {
  readonly count: number;
  readonly source: number;
  readonly to: number;
  readonly zero?: boolean;
  readonly accumulate?: boolean;
}

/** y[b, to + n] (+)= x[b, source + n] for n < count. */
export function copyTokens(x: Tensor, y: Tensor, options: CopyTokens): void {
  const { count, source, to, zero = false, accumulate = false } = options;
  const [B, M, C] = y.shape as Tokens;
  const [xB, xN] = x.shape as Tokens;
  const batch_stride = xB === 1 ? 0 : xN * C;
  const overrides = { ZERO: zero, ACCUMULATE: accumulate };
  const params = { B, M, C, count, source, to, batch_stride };
  y.gpu.run(copyKernel, { x, y }, params, B * M, { overrides });
}

export const prependTokenOp = defineOp<null>({
  name: 'prepend_token',
  formula:
    'y[b] = (token[0], …, token[R − 1], x[b, 0], …, x[b, N − 1]),   x (B, N, C), token (1, R, C), y (B, R + N, C)',
  shape: ([x, token]) => {
    const [s, t] = [x, token] as [Shape, Shape];
    need(
      s.length === 3 && t.length === 3 && t[0] === 1 && t[2] === s[2],
      'prepend_token',
      `token ${formatShape(t)} must be (1, R, C) for x ${formatShape(s)} of (B, N, C).`,
    );
    return [s[0] as number, (t[1] as number) + (s[1] as number), s[2] as number];
  },
  forward: (inputs, y) => {
    const [x, token] = inputs as [Tensor, Tensor];
    const R = token.shape[1] as number;
    copyTokens(token, y, { count: R, source: 0, to: 0 });
    copyTokens(x, y, { count: x.shape[1] as number, source: 0, to: R });
    return [];
  },
  backward: ({ inputs, dy, wants, grad }) => {
    const [x, token] = inputs as [Tensor, Tensor];
    const [B, N, C] = x.shape as Tokens;
    const R = token.shape[1] as number;
    if (wants(0)) {
      const { tensor, accumulate } = grad(0);
      copyTokens(dy, tensor, { count: N, source: R, to: 0, accumulate });
    }
    if (wants(1)) {
      const { tensor, accumulate } = grad(1);
      columnSum(dy, tensor, { rows: B, columns: R * C, stride: (R + N) * C, accumulate });
    }
  },
  needs: {},
  flops: () => 0,
  reference: ([x, token], shapes) => {
    const [[B, N, C], [, R]] = shapes as [Tokens, Tokens];
    return tabulate([B, R + N, C], (i) => {
      const n = Math.floor(i / C) % (R + N);
      const b = Math.floor(i / C / (R + N));
      return n < R ? token![n * C + (i % C)]! : x![(b * N + n - R) * C + (i % C)]!;
    });
  },
  samples: [
    [1, 1, 1, 1],
    [2, 3, 7, 1],
    [3, 4, 8, 1],
    [65, 2, 4, 1],
    [2, 257, 4, 1],
    [3, 2, 7, 4],
    [67, 5, 8, 3],
  ].map(([B, N, C, R]) => ({
    inputs: [
      [B!, N!, C!],
      [1, R!, C!],
    ],
    attrs: null,
  })),
  bench: [
    {
      inputs: [
        [64, 64, 192],
        [1, 1, 192],
      ],
      attrs: null,
    },
  ],
  errors: [
    {
      shapes: [
        [2, 3, 4],
        [1, 1, 5],
      ],
      attrs: null,
      says: /\[prepend_token\] token \(1, 1, 5\)/,
    },
  ],
});

export const takeTokenOp = defineOp<{ index: number }>({
  name: 'take_token',
  formula: 'y[b] = x[b, index],   x (B, N, C), y (B, C)',
  shape: ([x], { index }) => {
    const s = x as Shape;
    need(s.length === 3, 'take_token', `x ${formatShape(s)} must be (B, N, C).`);
    need(index >= 0 && index < (s[1] as number), 'take_token', `x ${formatShape(s)} has no token ${index}.`);
    return [s[0] as number, s[2] as number];
  },
  forward: ([x], y, { index }) => {
    const [B, C] = y.shape as [number, number];
    copyTokens(x as Tensor, y.view([B, 1, C]), { count: 1, source: index, to: 0 });
    return [];
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor, accumulate } = grad(0);
    const [B, C] = dy.shape as [number, number];
    copyTokens(dy.view([B, 1, C]), tensor, { count: 1, source: 0, to: attrs.index, zero: true, accumulate });
  },
  needs: {},
  flops: () => 0,
  reference: ([x], [shape], { index }) => {
    const [B, N, C] = shape as Tokens;
    return tabulate([B, C], (i) => x![(Math.floor(i / C) * N + index) * C + (i % C)]!);
  },
  samples: [
    { inputs: [[1, 1, 1]], attrs: { index: 0 } },
    { inputs: [[2, 3, 7]], attrs: { index: 2 } },
    { inputs: [[5, 4, 257]], attrs: { index: 0 } },
  ],
  errors: [{ shapes: [[2, 3, 4]], attrs: { index: 3 }, says: /\[take_token\] x \(2, 3, 4\) has no token 3/ }],
});

export const meanTokensOp = defineOp<{ skip: number }>({
  name: 'mean_tokens',
  formula: 'y[b] = Σ_n x[b, n] / (N − skip) for n ≥ skip,   x (B, N, C), y (B, C)',
  shape: ([x], { skip }) => {
    const s = x as Shape;
    need(s.length === 3, 'mean_tokens', `x ${formatShape(s)} must be (B, N, C).`);
    need(
      skip < (s[1] as number),
      'mean_tokens',
      `x ${formatShape(s)} has no token behind the first ${skip}.`,
    );
    return [s[0] as number, s[2] as number];
  },
  forward: ([x], y, { skip }) => {
    const [B, N, C] = (x as Tensor).shape as Tokens;
    y.gpu.run(meanKernel, { x: x as Tensor, y }, { B, N, C, skip }, groupsFor(B * C, ROW_WG));
    return [];
  },
  backward: ({ dy, attrs: { skip }, grad }) => {
    const { tensor: dx, accumulate } = grad(0);
    const [B, N, C] = dx.shape as Tokens;
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(meanBackwardKernel, { dy, dx }, { B, N, C, skip }, B * N, { overrides });
  },
  needs: {},
  flops: ([x]) => numel(x as Shape),
  reference: ([x], [shape], { skip }) => {
    const [B, N, C] = shape as Tokens;
    return tabulate([B, C], (i) => {
      let sum = 0;
      for (let n = skip; n < N; n++) sum += x![(Math.floor(i / C) * N + n) * C + (i % C)]!;
      return sum / (N - skip);
    });
  },
  samples: [
    [1, 1, 1, 0],
    [2, 3, 7, 0],
    [3, 257, 4, 0],
    [65, 2, 1, 0],
    [2, 3, 7, 1],
    [5, 67, 4, 4],
  ].map(([B, N, C, skip]) => ({ inputs: [[B!, N!, C!]], attrs: { skip: skip! } })),
  bench: [{ inputs: [[64, 64, 192]], attrs: { skip: 0 } }],
  errors: [
    { shapes: [[2, 3]], attrs: { skip: 0 }, says: /\[mean_tokens\] x \(2, 3\) must be \(B, N, C\)/ },
    {
      shapes: [[2, 3, 4]],
      attrs: { skip: 3 },
      says: /\[mean_tokens\] x \(2, 3, 4\) has no token behind the first 3/,
    },
  ],
});

/** Puts tokens that the batch shares before the others: x (B, N, C), token (1, R, C), to (B, R + N, C). */
export const prependToken = (x: Tensor, token: Tensor): Tensor => apply(prependTokenOp, [x, token], null);
/** Token `index` of every image: x (B, N, C) to (B, C). */
export const takeToken = (x: Tensor, index: number): Tensor => apply(takeTokenOp, [x], { index });
/** The mean over tokens but the first `skip`: x (B, N, C) to (B, C). */
export const meanTokens = (x: Tensor, skip = 0): Tensor => apply(meanTokensOp, [x], { skip });
