import copySource from '../../kernels/tokens/copy_tokens_forward.wgsl';
import meanBackward from '../../kernels/tokens/mean_tokens_backward.wgsl';
import meanForward from '../../kernels/tokens/mean_tokens_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel } from '../core/shape.js';
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

const row = (x: Tokens, R: number) => ({ inputs: { x, token: [1, R, x[2]] } });

export const prependTokenOp = defineOp({
  name: 'prepend_token',
  inputs: ['x', 'token'],
  formula:
    'y[b] = (token[0], …, token[R − 1], x[b, 0], …, x[b, N − 1]),   x (B, N, C), token (1, R, C), y (B, R + N, C)',
  shape: ({ x, token }) => {
    need(
      x.length === 3 && token.length === 3 && token[0] === 1 && token[2] === x[2],
      'prepend_token',
      `token ${formatShape(token)} must be (1, R, C) for x ${formatShape(x)} of (B, N, C).`,
    );
    const [[B, N, C], [, R]] = [x, token] as [Tokens, Tokens];
    return [B, R + N, C];
  },
  forward: ({ x, token }, y) => {
    const [[, N], [, R]] = [x.shape, token.shape] as [Tokens, Tokens];
    copyTokens(token, y, { count: R, source: 0, to: 0 });
    copyTokens(x, y, { count: N, source: 0, to: R });
  },
  backward: ({ inputs: { x, token }, dy, wanted }) => {
    const [[B, N, C], [, R]] = [x.shape, token.shape] as [Tokens, Tokens];
    const [dx, dtoken] = [wanted('x'), wanted('token')];
    if (dx) copyTokens(dy, dx.tensor, { count: N, source: R, to: 0, accumulate: dx.accumulate });
    if (!dtoken) return;
    const { tensor, accumulate } = dtoken;
    columnSum(dy, tensor, { rows: B, columns: R * C, stride: (R + N) * C, accumulate });
  },
  needs: {},
  flops: () => 0,
  reference: ({ x, token }, shapes) => {
    const [[B, N, C], [, R]] = [shapes.x, shapes.token] as [Tokens, Tokens];
    return tabulate([B, R + N, C], (i) => {
      const n = Math.floor(i / C) % (R + N);
      const b = Math.floor(i / C / (R + N));
      return n < R ? token[n * C + (i % C)]! : x[(b * N + n - R) * C + (i % C)]!;
    });
  },
  samples: [
    row([1, 1, 1], 1),
    row([2, 3, 7], 1),
    row([3, 4, 8], 1),
    row([65, 2, 4], 1),
    row([2, 257, 4], 1),
    row([3, 2, 7], 4),
    row([67, 5, 8], 3),
  ],
  bench: [row([64, 64, 192], 1)],
  errors: [{ shapes: { x: [2, 3, 4], token: [1, 1, 5] }, says: /\[prepend_token\] token \(1, 1, 5\)/ }],
});

export const takeTokenOp = defineOp({
  name: 'take_token',
  inputs: ['x'],
  formula: 'y[b] = x[b, index],   x (B, N, C), y (B, C)',
  shape: ({ x }, { index }: { index: number }) => {
    need(x.length === 3, 'take_token', `x ${formatShape(x)} must be (B, N, C).`);
    const [B, N, C] = x as Tokens;
    need(index >= 0 && index < N, 'take_token', `x ${formatShape(x)} has no token ${index}.`);
    return [B, C];
  },
  forward: ({ x }, y, { index }) => {
    const [B, C] = y.shape as [number, number];
    copyTokens(x, y.view([B, 1, C]), { count: 1, source: index, to: 0 });
  },
  backward: ({ dy, attrs, grad }) => {
    const { tensor, accumulate } = grad('x');
    const [B, C] = dy.shape as [number, number];
    copyTokens(dy.view([B, 1, C]), tensor, { count: 1, source: 0, to: attrs.index, zero: true, accumulate });
  },
  needs: {},
  flops: () => 0,
  reference: ({ x }, shapes, { index }) => {
    const [B, N, C] = shapes.x as Tokens;
    return tabulate([B, C], (i) => x[(Math.floor(i / C) * N + index) * C + (i % C)]!);
  },
  samples: [
    { inputs: { x: [1, 1, 1] }, attrs: { index: 0 } },
    { inputs: { x: [2, 3, 7] }, attrs: { index: 2 } },
    { inputs: { x: [5, 4, 257] }, attrs: { index: 0 } },
  ],
  errors: [
    { shapes: { x: [2, 3, 4] }, attrs: { index: 3 }, says: /\[take_token\] x \(2, 3, 4\) has no token 3/ },
  ],
});

export const meanTokensOp = defineOp({
  name: 'mean_tokens',
  inputs: ['x'],
  formula: 'y[b] = Σ_n x[b, n] / (N − skip) for n ≥ skip,   x (B, N, C), y (B, C)',
  shape: ({ x }, { skip }: { skip: number }) => {
    need(x.length === 3, 'mean_tokens', `x ${formatShape(x)} must be (B, N, C).`);
    const [B, N, C] = x as Tokens;
    need(skip < N, 'mean_tokens', `x ${formatShape(x)} has no token behind the first ${skip}.`);
    return [B, C];
  },
  forward: ({ x }, y, { skip }) => {
    const [B, N, C] = x.shape as Tokens;
    y.gpu.run(meanKernel, { x, y }, { B, N, C, skip }, groupsFor(B * C, ROW_WG));
  },
  backward: ({ dy, attrs: { skip }, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const [B, N, C] = dx.shape as Tokens;
    const overrides = { ACCUMULATE: accumulate };
    dy.gpu.run(meanBackwardKernel, { dy, dx }, { B, N, C, skip }, B * N, { overrides });
  },
  needs: {},
  flops: ({ x }) => numel(x),
  reference: ({ x }, shapes, { skip }) => {
    const [B, N, C] = shapes.x as Tokens;
    return tabulate([B, C], (i) => {
      let sum = 0;
      for (let n = skip; n < N; n++) sum += x[(Math.floor(i / C) * N + n) * C + (i % C)]!;
      return sum / (N - skip);
    });
  },
  samples: [
    { inputs: { x: [1, 1, 1] }, attrs: { skip: 0 } },
    { inputs: { x: [2, 3, 7] }, attrs: { skip: 0 } },
    { inputs: { x: [3, 257, 4] }, attrs: { skip: 0 } },
    { inputs: { x: [65, 2, 1] }, attrs: { skip: 0 } },
    { inputs: { x: [2, 3, 7] }, attrs: { skip: 1 } },
    { inputs: { x: [5, 67, 4] }, attrs: { skip: 4 } },
  ],
  bench: [{ inputs: { x: [64, 64, 192] }, attrs: { skip: 0 } }],
  errors: [
    { shapes: { x: [2, 3] }, attrs: { skip: 0 }, says: /\[mean_tokens\] x \(2, 3\) must be \(B, N, C\)/ },
    {
      shapes: { x: [2, 3, 4] },
      attrs: { skip: 3 },
      says: /\[mean_tokens\] x \(2, 3, 4\) has no token behind the first 3/,
    },
  ],
});

/** Puts tokens that the batch shares before the others: x (B, N, C), token (1, R, C), to (B, R + N, C). */
export const prependToken = (x: Tensor, token: Tensor): Tensor => apply(prependTokenOp, { x, token });
/** Token `index` of every image: x (B, N, C) to (B, C). */
export const takeToken = (x: Tensor, index: number): Tensor => apply(takeTokenOp, { x }, { index });
/** The mean over tokens but the first `skip`: x (B, N, C) to (B, C). */
export const meanTokens = (x: Tensor, skip = 0): Tensor => apply(meanTokensOp, { x }, { skip });
