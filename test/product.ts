/** What a matrix product and all that is done beside it come to, in float64; and its operands. */
import { expect } from 'vitest';
import { roundToHalf } from '../src/core/half.js';
import type { Gpu } from '../src/gpu/gpu.js';
import type { Choice } from '../src/gpu/tuning.js';
import { erf } from '../src/ops/gelu.js';
import { halfProducts, type Product, runMatmul } from '../src/ops/product.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, worst } from './gpu.js';

export interface Trial extends Partial<Product> {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly bias?: boolean;
  readonly sums?: boolean;
  readonly epilogue?: 'residual' | 'gelu' | 'gelu_gradient';
  readonly accumulate?: boolean;
  readonly half?: boolean;
}

const EPSILON = 2 ** -24;
const normal = (x: number): number => 0.5 * (1 + erf(x / Math.SQRT2));
const gelu = (x: number): number => x * normal(x);
const geluGradient = (x: number): number => normal(x) + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI);

/** Runs one product, by a given kernel or the chosen one, and compares all that it writes with float64, to the bound of rounding. */
export async function checkProduct(gpu: Gpu, trial: Trial, given?: Choice): Promise<void> {
  const { M, N, K, batch = 1, transA = false, transB = false, accumulate = false, half = false } = trial;
  const operand = (rows: number, columns: number, seed: number) => normals([batch * rows * columns], seed);
  const [a, b, old, extra, bias] = [
    operand(M, K, 1),
    operand(K, N, 2),
    operand(M, N, 3),
    operand(M, N, 4),
    normals([N], 5),
  ];
  const oldSums = normals([M], 6);
  const tensor = (data: Float32Array<ArrayBuffer>) => Tensor.from(gpu, data.slice());
  const c = tensor(old);
  const aux = trial.epilogue && tensor(extra);
  const sums = trial.sums ? tensor(oldSums) : undefined;
  const operands = {
    ...{ a: tensor(a), b: tensor(b), c, sums, accumulate },
    bias: trial.bias ? tensor(bias) : undefined,
    epilogue: trial.epilogue && aux ? { kind: trial.epilogue, aux } : undefined,
  };
  const product = { batch, M, N, K, transA, transB };
  if (half) halfProducts(() => runMatmul(product, operands, given));
  else runMatmul(product, operands, given);

  const part = half ? roundToHalf : (x: number) => x;
  const expected = { c: new Float64Array(c.size), aux: new Float64Array(c.size), sums: new Float64Array(M) };
  const bounds = { c: new Float64Array(c.size), sums: new Float64Array(M) };
  for (let z = 0; z < batch; z++)
    for (let m = 0; m < M; m++)
      for (let n = 0; n < N; n++) {
        let [sum, size] = trial.bias ? [bias[n]!, Math.abs(bias[n]!)] : [0, 0];
        for (let k = 0; k < K; k++) {
          const left = part(a[z * M * K + (transA ? k * M + m : m * K + k)]!);
          const right = part(b[z * K * N + (transB ? n * K + k : k * N + n)]!);
          sum += left * right;
          size += Math.abs(left * right);
        }
        const at = (z * M + m) * N + n;
        expected.aux[at] = trial.epilogue === 'gelu' ? sum : extra[at]!;
        if (trial.epilogue === 'residual') sum += extra[at]!;
        if (trial.epilogue === 'gelu') sum = gelu(sum);
        if (trial.epilogue === 'gelu_gradient') sum *= geluGradient(extra[at]!);
        expected.c[at] = sum + (accumulate ? old[at]! : 0);
        bounds.c[at] = size + Math.abs(extra[at]!) + Math.abs(old[at]!);
      }
  for (let m = 0; m < M; m++) {
    const row = Array.from({ length: K }, (_, k) => a[transA ? k * M + m : m * K + k] as number);
    expected.sums[m] = row.reduce((x: number, y) => x + y, accumulate ? oldSums[m]! : 0);
    bounds.sums[m] = row.reduce((x, y) => x + Math.abs(y), Math.abs(oldSums[m]!));
  }
  const near = (what: string, actual: Float32Array, wanted: Float64Array, bound: Float64Array) => {
    const { ratio, at } = worst(
      actual,
      wanted,
      (i) => 2 * (K + 4) * EPSILON * bound[i]! + 1e-6 * Number(!!aux),
    );
    expect(ratio, `${what} at ${at}: ${actual[at]} for ${wanted[at]}`).toBeLessThanOrEqual(1);
  };
  near('c', await c.toFloat32(), expected.c, bounds.c);
  if (aux) near('aux', await aux.toFloat32(), expected.aux, bounds.c);
  if (sums) near('sums', await sums.toFloat32(), expected.sums, bounds.sums);
  for (const it of [operands.a, operands.b, c, aux, sums, operands.bias]) it?.release();
}
