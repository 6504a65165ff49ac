/** Batched matrix products as an op. */
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Product, runMatmul } from './product.js';

interface Attrs {
  readonly transA?: boolean;
  readonly transB?: boolean;
}

function matmulShape([a, b]: readonly Shape[], { transA = false, transB = false }: Attrs): Product {
  const [s, t] = [a, b] as [Shape, Shape];
  const text = `a ${formatShape(s)}${transA ? ' transposed' : ''} and b ${formatShape(t)}${transB ? ' transposed' : ''}`;
  need(
    s.length === t.length && s.length >= 2,
    'matmul',
    `${text} must have the same number of axes, two or more.`,
  );
  need(
    s.slice(0, -2).every((d, i) => d === t[i]),
    'matmul',
    `${text} must have the same leading axes.`,
  );
  const [rows, inner] = s.slice(-2) as [number, number];
  const [inner2, columns] = t.slice(-2) as [number, number];
  const [M, K] = transA ? [inner, rows] : [rows, inner];
  const [K2, N] = transB ? [columns, inner2] : [inner2, columns];
  need(
    K === K2,
    'matmul',
    `${transA ? 'first' : 'last'} matrix axis of a ${formatShape(s)} must equal ${transB ? 'last' : 'first'} matrix axis of b ${formatShape(t)}.`,
  );
  return { batch: numel(s.slice(0, -2)), M, N, K, transA, transB };
}

export const matmulOp = defineOp<Attrs>({
  name: 'matmul',
  formula: 'C = A · B, each transposed on request, leading axes batched',
  shape: (shapes, attrs) => {
    const { M, N } = matmulShape(shapes, attrs);
    return [...(shapes[0] as Shape).slice(0, -2), M, N];
  },
  forward: ([a, b], c, attrs) => {
    const shape = matmulShape([(a as Tensor).shape, (b as Tensor).shape], attrs);
    runMatmul(shape, { a: a as Tensor, b: b as Tensor, c });
    return [];
  },
  backward: ({ inputs, dy, attrs, wants, grad }) => {
    const [a, b] = inputs as [Tensor, Tensor];
    const { batch, M, N, K, transA, transB } = matmulShape([a.shape, b.shape], attrs);
    if (wants(0)) {
      // dA = dC · Bᵀ, or for a transposed A: dA = B · dCᵀ.
      const { tensor: c, accumulate } = grad(0);
      if (transA) {
        const shape = { batch, M: K, N: M, K: N, transA: transB, transB: true };
        runMatmul(shape, { a: b, b: dy, c, accumulate });
      } else {
        const shape = { batch, M, N: K, K: N, transA: false, transB: !transB };
        runMatmul(shape, { a: dy, b, c, accumulate });
      }
    }
    if (wants(1)) {
      // dB = Aᵀ · dC, or for a transposed B: dB = dCᵀ · A.
      const { tensor: c, accumulate } = grad(1);
      if (transB) {
        const shape = { batch, M: N, N: K, K: M, transA: true, transB: transA };
        runMatmul(shape, { a: dy, b: a, c, accumulate });
      } else {
        const shape = { batch, M: K, N, K: M, transA: !transA, transB: false };
        runMatmul(shape, { a, b: dy, c, accumulate });
      }
    }
  },
  needs: { inputs: [0, 1] },
  flops: (shapes, attrs) => {
    const { batch, M, N, K } = matmulShape(shapes, attrs);
    return 2 * batch * M * N * K;
  },
  terms: (shapes, attrs) => matmulShape(shapes, attrs).K,
  reference: ([a, b], shapes, attrs) => {
    const [u, v] = [a, b] as [Float64Array, Float64Array];
    const { batch, M, N, K, transA, transB } = matmulShape(shapes, attrs);
    const c = new Float64Array(batch * M * N);
    for (let z = 0; z < batch; z++)
      for (let m = 0; m < M; m++)
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let k = 0; k < K; k++)
            sum +=
              u[z * M * K + (transA ? k * M + m : m * K + k)]! *
              v[z * K * N + (transB ? n * K + k : k * N + n)]!;
          c[(z * M + m) * N + n] = sum;
        }
    return c;
  },
  samples: [
    {
      inputs: [
        [1, 1],
        [1, 1],
      ],
      attrs: {},
    },
    {
      inputs: [
        [2, 3],
        [3, 7],
      ],
      attrs: {},
    },
    {
      inputs: [
        [7, 257],
        [257, 5],
      ],
      attrs: {},
    },
    {
      inputs: [
        [65, 64],
        [64, 68],
      ],
      attrs: {},
    },
    {
      inputs: [
        [63, 16],
        [16, 12],
      ],
      attrs: {},
    },
    {
      inputs: [
        [3, 5, 8],
        [3, 8, 4],
      ],
      attrs: {},
    },
    {
      inputs: [
        [3, 5, 8],
        [3, 12, 8],
      ],
      attrs: { transB: true },
    },
    {
      inputs: [
        [2, 8, 65],
        [2, 8, 63],
      ],
      attrs: { transA: true },
    },
    {
      inputs: [
        [2, 8, 68],
        [2, 8, 132],
      ],
      attrs: { transA: true },
    },
    {
      inputs: [
        [2, 7, 68],
        [2, 7, 4],
      ],
      attrs: { transA: true },
    },
    {
      inputs: [
        [12, 20],
        [8, 12],
      ],
      attrs: { transA: true, transB: true },
    },
    {
      inputs: [
        [5, 7],
        [3, 5],
      ],
      attrs: { transA: true, transB: true },
    },
    {
      inputs: [
        [70, 20],
        [72, 20],
      ],
      attrs: { transB: true },
    },
    // Large enough to be copied to whole quads: each contiguous axis in turn, and all of them.
    {
      inputs: [
        [2, 65, 64],
        [2, 65, 64],
      ],
      attrs: { transB: true },
    },
    {
      inputs: [
        [65, 65],
        [65, 64],
      ],
      attrs: {},
    },
    {
      inputs: [
        [65, 67],
        [65, 66],
      ],
      attrs: { transA: true },
    },
    {
      inputs: [
        [65, 67],
        [63, 65],
      ],
      attrs: { transA: true, transB: true },
    },
  ],
  bench: [
    {
      inputs: [
        [4160, 192],
        [576, 192],
      ],
      attrs: { transB: true },
    },
    {
      inputs: [
        [4160, 192],
        [768, 192],
      ],
      attrs: { transB: true },
    },
    {
      inputs: [
        [4160, 768],
        [192, 768],
      ],
      attrs: { transB: true },
    },
    {
      inputs: [
        [4160, 768],
        [768, 192],
      ],
      attrs: {},
    },
    {
      inputs: [
        [4160, 192],
        [4160, 768],
      ],
      attrs: { transA: true },
    },
    {
      inputs: [
        [4160, 192],
        [4160, 192],
      ],
      attrs: { transA: true },
    },
    {
      inputs: [
        [1024, 1024],
        [1024, 1024],
      ],
      attrs: {},
    },
    {
      inputs: [
        [192, 65, 64],
        [192, 65, 64],
      ],
      attrs: { transB: true },
    },
    {
      inputs: [
        [192, 65, 65],
        [192, 65, 64],
      ],
      attrs: {},
    },
  ],
  errors: [
    {
      shapes: [
        [64, 192],
        [128, 768],
      ],
      attrs: {},
      says: /\[matmul\] last matrix axis of a \(64, 192\) must equal first matrix axis of b \(128, 768\)/,
    },
    {
      shapes: [
        [2, 3, 4],
        [3, 4, 5],
      ],
      attrs: {},
      says: /\[matmul\].*same leading axes/,
    },
    { shapes: [[3], [3]], attrs: {}, says: /\[matmul\].*two or more/ },
  ],
});

/** a · b over the last two axes, leading axes batched; transA and transB read a matrix transposed. */
export const matmul = (a: Tensor, b: Tensor, attrs: Attrs = {}): Tensor => apply(matmulOp, [a, b], attrs);
