import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Product, runMatmul } from './product.js';

interface Attrs {
  readonly transA?: boolean;
  readonly transB?: boolean;
}

interface Shapes {
  readonly a: Shape;
  readonly b: Shape;
}

function productOf({ a, b }: Shapes, { transA = false, transB = false }: Attrs): Product {
  const text = `a ${formatShape(a)}${transA ? ' transposed' : ''} and b ${formatShape(b)}${transB ? ' transposed' : ''}`;
  need(
    a.length === b.length && a.length >= 2,
    'matmul',
    `${text} must have the same number of axes, two or more.`,
  );
  need(
    a.slice(0, -2).every((d, i) => d === b[i]),
    'matmul',
    `${text} must have the same leading axes.`,
  );
  const [rows, inner] = a.slice(-2) as [number, number];
  const [inner2, columns] = b.slice(-2) as [number, number];
  const [M, K] = transA ? [inner, rows] : [rows, inner];
  const [K2, N] = transB ? [columns, inner2] : [inner2, columns];
  need(
    K === K2,
    'matmul',
    `${transA ? 'first' : 'last'} matrix axis of a ${formatShape(a)} must equal ${transB ? 'last' : 'first'} matrix axis of b ${formatShape(b)}.`,
  );
  return { batch: numel(a.slice(0, -2)), M, N, K, transA, transB };
}

const row = (a: Shape, b: Shape, attrs: Attrs = {}) => ({ inputs: { a, b }, attrs });

export const matmulOp = defineOp({
  name: 'matmul',
  inputs: ['a', 'b'],
  formula: 'C = A · B, each transposed on request, leading axes batched',
  shape: (shapes, attrs: Attrs) => {
    const { M, N } = productOf(shapes, attrs);
    return [...shapes.a.slice(0, -2), M, N];
  },
  forward: ({ a, b }, c, attrs) => runMatmul(productOf({ a: a.shape, b: b.shape }, attrs), { a, b, c }),
  backward: ({ inputs: { a, b }, dy, attrs, wanted }) => {
    const { batch, M, N, K, transA, transB } = productOf({ a: a.shape, b: b.shape }, attrs);
    const [da, db] = [wanted('a'), wanted('b')];
    if (da) {
      // dA = dC · Bᵀ, or for a transposed A: dA = B · dCᵀ.
      const { tensor: c, accumulate } = da;
      if (transA) {
        const shape = { batch, M: K, N: M, K: N, transA: transB, transB: true };
        runMatmul(shape, { a: b, b: dy, c, accumulate });
      } else {
        const shape = { batch, M, N: K, K: N, transA: false, transB: !transB };
        runMatmul(shape, { a: dy, b, c, accumulate });
      }
    }
    if (db) {
      // dB = Aᵀ · dC, or for a transposed B: dB = dCᵀ · A.
      const { tensor: c, accumulate } = db;
      if (transB) {
        const shape = { batch, M: N, N: K, K: M, transA: true, transB: transA };
        runMatmul(shape, { a: dy, b: a, c, accumulate });
      } else {
        const shape = { batch, M: K, N, K: M, transA: !transA, transB: false };
        runMatmul(shape, { a, b: dy, c, accumulate });
      }
    }
  },
  needs: { inputs: ['a', 'b'] },
  flops: (shapes, attrs) => {
    const { batch, M, N, K } = productOf(shapes, attrs);
    return 2 * batch * M * N * K;
  },
  backwardFlops: 2, // two gradients of the forward pass's product, a product each
  terms: (shapes, attrs) => productOf(shapes, attrs).K,
  reference: ({ a, b }, shapes, attrs) => {
    const { batch, M, N, K, transA, transB } = productOf(shapes, attrs);
    const c = new Float64Array(batch * M * N);
    for (let z = 0; z < batch; z++)
      for (let m = 0; m < M; m++)
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let k = 0; k < K; k++)
            sum +=
              a[z * M * K + (transA ? k * M + m : m * K + k)]! *
              b[z * K * N + (transB ? n * K + k : k * N + n)]!;
          c[(z * M + m) * N + n] = sum;
        }
    return c;
  },
  samples: [
    row([1, 1], [1, 1]),
    row([2, 3], [3, 7]),
    row([7, 257], [257, 5]),
    row([65, 64], [64, 68]),
    row([63, 16], [16, 12]),
    row([3, 5, 8], [3, 8, 4]),
    row([3, 5, 8], [3, 12, 8], { transB: true }),
    row([2, 8, 65], [2, 8, 63], { transA: true }),
    row([2, 8, 68], [2, 8, 132], { transA: true }),
    row([2, 7, 68], [2, 7, 4], { transA: true }),
    row([12, 20], [8, 12], { transA: true, transB: true }),
    row([5, 7], [3, 5], { transA: true, transB: true }),
    row([70, 20], [72, 20], { transB: true }),
    // Large enough to be copied to whole quads: each contiguous axis in turn, and all of them.
    row([2, 65, 64], [2, 65, 64], { transB: true }),
    row([65, 65], [65, 64]),
    row([65, 67], [65, 66], { transA: true }),
    row([65, 67], [63, 65], { transA: true, transB: true }),
  ],
  bench: [
    row([4160, 192], [576, 192], { transB: true }),
    row([4160, 192], [768, 192], { transB: true }),
    row([4160, 768], [192, 768], { transB: true }),
    row([4160, 768], [768, 192]),
    row([4160, 192], [4160, 768], { transA: true }),
    row([4160, 192], [4160, 192], { transA: true }),
    row([1024, 1024], [1024, 1024]),
    row([192, 65, 64], [192, 65, 64], { transB: true }),
    row([192, 65, 65], [192, 65, 64]),
  ],
  errors: [
    {
      shapes: { a: [64, 192], b: [128, 768] },
      attrs: {},
      says: /\[matmul\] last matrix axis of a \(64, 192\) must equal first matrix axis of b \(128, 768\)/,
    },
    {
      shapes: { a: [2, 3, 4], b: [3, 4, 5] },
      attrs: {},
      says: /\[matmul\].*same leading axes/,
    },
    { shapes: { a: [3], b: [3] }, attrs: {}, says: /\[matmul\].*two or more/ },
  ],
});

/**
 * a · b (torch.matmul): a (…, M, K), b (…, K, N) with the same leading axes, to (…, M, N). With transA, a is (…, K, M); with
 * transB, b is (…, N, K).
 */
export const matmul = (a: Tensor, b: Tensor, attrs: Attrs = {}): Tensor => apply(matmulOp, { a, b }, attrs);
