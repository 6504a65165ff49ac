/** Matrix products: which kernel, with which operands. Every product of every op goes through runMatmul. */
import tiles from '../../kernels/matmul_forward.wgsl';
import plain from '../../kernels/matmul_forward_plain.wgsl';
import texture from '../../kernels/matmul_forward_texture.wgsl';
import pitch from '../../kernels/pitch_forward.wgsl';
import type { Workgroups } from '../gpu/dispatch.js';
import { defineKernel, type Kernel } from '../gpu/pipeline.js';
import { type Choice, type Family, MAX_TEXELS, softwareLanes } from '../gpu/tuning.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG } from './common.js';

const textureKernel = defineKernel('matmul_forward_texture', texture);
const plainKernel = defineKernel('matmul_forward_plain', plain);
const pitchKernel = defineKernel('pitch_forward', pitch);

/** C (M, N) = A (M, K) · B (K, N), `batch` of them; with transA, A is stored (K, M), with transB, B is stored (N, K). */
export interface MatmulShape {
  readonly batch: number;
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly transA: boolean;
  readonly transB: boolean;
  /** Whether something is added to the product or made of it while it is in registers. */
  readonly fused?: boolean;
}

const WORTH_PITCHING = 1 << 18;

/** Whether the contiguous axes of A, B and C are whole quads. */
const inQuads = ({ M, N, K, transA, transB }: MatmulShape): boolean =>
  N % 4 === 0 && (transA ? M : K) % 4 === 0 && (!transB || K % 4 === 0);

export const matmulKernels: Family<MatmulShape> = {
  name: 'matmul_forward',
  variants: [
    {
      kernel: textureKernel,
      tune: (adapter, shape) => {
        const { batch, M, N, K, fused } = shape;
        const lanes = softwareLanes(adapter);
        const fits = batch * (K + 3) * (Math.max(M, N) + 3) <= 4 * MAX_TEXELS;
        // Copies at another pitch cost as much as a small product.
        const worth = inQuads(shape) || (!fused && batch * M * N * K >= WORTH_PITCHING);
        return lanes > 0 && worth && fits ? { LANES: lanes } : null;
      },
    },
    {
      kernel: plainKernel,
      tune: (adapter, { M, N, K }) => (M * N * K < adapter.knobs.plainProducts ? {} : null),
    },
    { kernel: defineKernel('matmul_forward', tiles), tune: () => ({}) },
  ],
};

/** What is done with a product while it is in registers; `aux` has the shape of C. */
export type Epilogue =
  | { readonly kind: 'residual'; readonly aux: Tensor }
  /** aux is written: the product (and bias) before gelu. */
  | { readonly kind: 'gelu'; readonly aux: Tensor }
  | { readonly kind: 'gelu_gradient'; readonly aux: Tensor };

const EPILOGUES = { residual: 1, gelu: 2, gelu_gradient: 3 } as const;

export interface MatmulOperands {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly c: Tensor;
  readonly bias?: Tensor | undefined;
  readonly epilogue?: Epilogue | undefined;
  /** (M) (+)= Σ_k A[m, k]. */
  readonly sums?: Tensor | undefined;
  /** Adds to what c and sums hold. */
  readonly accumulate?: boolean;
}

/** Runs one product. */
export function runMatmul(product: MatmulShape, operands: MatmulOperands): void {
  const { bias, epilogue, sums } = operands;
  const shape = { ...product, fused: (bias ?? epilogue ?? sums) !== undefined };
  const choice = operands.a.gpu.pick(matmulKernels, shape);
  const ragged = choice.kernel === textureKernel && !inQuads(shape);
  if (ragged) atWholeQuads(choice, shape, operands);
  else dispatch(choice, shape, operands);
}

function dispatch({ kernel, tune }: Choice, shape: MatmulShape, operands: MatmulOperands): void {
  const { a, b, c, bias, epilogue, sums, accumulate = false } = operands;
  const { gpu } = a;
  const { M, N, K, transA, transB } = shape;
  const aux = epilogue?.aux ?? gpu.spare[0];
  const all = { a, b, c, bias: bias ?? b, aux, sums: sums ?? gpu.spare[1] };
  gpu.run(kernel, all, { M, N, K }, workgroups(kernel, shape, tune.LANES), {
    tune,
    overrides: {
      TRANS_A: transA,
      TRANS_B: transB,
      BIAS: bias !== undefined,
      ACCUMULATE: accumulate,
      SUMS: sums !== undefined,
      EPILOGUE: epilogue ? EPILOGUES[epilogue.kind] : 0,
    },
  });
}

function workgroups(kernel: Kernel, { M, N, batch }: MatmulShape, lanes: number | undefined): Workgroups {
  if (kernel !== plainKernel) return [Math.ceil(N / (lanes ? 4 * lanes : 64)), Math.ceil(M / 64), batch];
  const groups = groupsFor(M * N, ROW_WG);
  const rows = Math.ceil(groups / 65535);
  return [Math.ceil(groups / rows), rows, batch];
}

/** The texture kernel on copies of the operands whose rows are whole quads. */
function atWholeQuads(choice: Choice, shape: MatmulShape, operands: MatmulOperands): void {
  const { batch, M, N, K, transA, transB } = shape;
  const { a, b, c, accumulate = false } = operands;
  scope(() => {
    const wideA = transA ? widened(a, batch * K, M) : widened(a, batch * M, K);
    const wideB = transB ? widened(b, batch * N, K) : widened(b, batch * K, N);
    if (N % 4 === 0) return dispatch(choice, shape, { ...operands, a: wideA, b: wideB });
    const wide = Tensor.empty(c.gpu, [batch * M, quadsWide(N)], 'f32', 'matmul.wide');
    dispatch(choice, shape, { a: wideA, b: wideB, c: wide });
    repitch(wide, c, { rows: batch * M, from: quadsWide(N), to: N, accumulate });
  });
}

const quadsWide = (columns: number): number => 4 * Math.ceil(columns / 4);

/** x (rows, columns) with zeros behind each row, to whole quads; x itself where there is nothing to fill. */
function widened(x: Tensor, rows: number, columns: number): Tensor {
  if (columns % 4 === 0) return x;
  const wide = Tensor.empty(x.gpu, [rows, quadsWide(columns)], 'f32', 'matmul.wide');
  repitch(x, wide, { rows, from: columns, to: quadsWide(columns), accumulate: false });
  return wide;
}

function repitch(
  x: Tensor,
  y: Tensor,
  { rows, from, to, accumulate }: { rows: number; from: number; to: number; accumulate: boolean },
): void {
  x.gpu.run(pitchKernel, { x, y }, { rows, C: from, P: to }, rows, { overrides: { ACCUMULATE: accumulate } });
}
