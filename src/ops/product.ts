/** Matrix products. Every product of every op goes through runMatmul. */
import pitch from '../../kernels/matmul/pitch_forward.wgsl';
import { autocasting, productType } from '../autograd/autocast.js';
import type { Workgroups } from '../gpu/dispatch.js';
import { defineKernel, type Kernel } from '../gpu/pipeline.js';
import type { Choice } from '../gpu/variants.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { groupsFor, ROW_WG } from './common.js';
import {
  chunkOf,
  extentOf,
  layersKernel,
  type MatmulShape,
  matmulKernels,
  matrixKernel,
  panelKernel,
  plainKernel,
  textureKernel,
} from './product_kernels.js';
import { castInto } from './scale.js';

const pitchKernel = defineKernel('pitch_forward', pitch);
const PITCH_ROWS = 16; // of a workgroup

/** Work on a product while it is in registers; `aux` has the shape and the dtype of C. */
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
  /** Adds to the contents of c and sums. */
  readonly accumulate?: boolean;
}

/** The sizes of a product. Bias, epilogue and sums follow from its operands. */
export type Product = Pick<MatmulShape, 'batch' | 'M' | 'N' | 'K' | 'transA' | 'transB'>;

/** Runs one product, by the kernel that suits the adapter or by a given one that can. */
export function runMatmul(product: Product, operands: MatmulOperands, given?: Choice): void {
  const { c, bias, epilogue, sums } = operands;
  c.gpu.countFlops(2 * product.batch * product.M * product.N * product.K);
  const half = autocasting();
  const [a, b] = [operands.a, operands.b].map((x) => (half && x.half) || x) as [Tensor, Tensor];
  const beside = { bias: bias !== undefined, aux: epilogue !== undefined, sums: sums !== undefined };
  const shape = { ...product, ...beside, half, narrow: [a, b, c].some(({ dtype }) => dtype === 'f16') };
  const choice = given ?? a.gpu.pick(matmulKernels, shape);
  const all = { ...operands, a, b };
  if (choice.kernel === plainKernel) inParts(choice, shape, all);
  else atWholeUnits(choice, shape, all);
}

/**
 * x as the operand of several products: under autocast an f16 copy of float32, where the adapter's products read f16. They
 * round x themselves, too, but then each of its elements is read in twice the bytes, once for every tile of the result.
 */
export function asFactor(x: Tensor): Tensor {
  if (x.dtype === 'f16' || productType(x.gpu) === 'f32') return x;
  const copy = Tensor.empty(x.gpu, x.shape, 'f16', 'matmul.half');
  castInto(x, copy);
  return copy;
}

/** The whole sum at once, or parts of it side by side and their sum in a fixed order. */
function inParts(choice: Choice, shape: MatmulShape, operands: MatmulOperands): void {
  const { a, c, sums, accumulate = false } = operands;
  const { M, N, K } = shape;
  // The sum of the parts is written in f32.
  const chunk = c.dtype === 'f32' ? chunkOf(choice, a.gpu.info, shape) : K;
  if (chunk >= K) {
    dispatch(choice, shape, operands, K);
    return;
  }
  const parts = Math.ceil(K / chunk);
  scope(() => {
    const partial = (columns: number) => Tensor.empty(a.gpu, [parts, columns], 'f32', 'matmul.parts');
    const [partC, partSums] = [partial(M * N), sums && partial(M)];
    const into = { ...operands, c: partC, sums: partSums, accumulate: false };
    dispatch(choice, { ...shape, batch: parts }, into, chunk);
    columnSum(partC, c, { rows: parts, columns: M * N, accumulate });
    if (sums && partSums) columnSum(partSums, sums, { rows: parts, columns: M, accumulate });
  });
}

function dispatch(choice: Choice, shape: MatmulShape, operands: MatmulOperands, chunk: number): void {
  const { kernel, tune } = choice;
  const { a, b, c, bias, epilogue, sums, accumulate = false } = operands;
  const { gpu } = a;
  const { M, N, K, transA, transB } = shape;
  const all = { a, b, c, bias, aux: epilogue?.aux, sums };
  const elements =
    kernel === matrixKernel
      ? { UNIT_A: 128 / a.bits, UNIT_B: 128 / b.bits, ElementC: c.bits }
      : { ElementA: a.bits, ElementB: b.bits, ElementC: c.bits };
  const layout = { TRANS_A: transA, TRANS_B: transB, SUMS: sums !== undefined };
  const half = { HALF: shape.half === true };
  const beside = {
    bias: Number(bias !== undefined),
    accumulate: Number(accumulate),
    epilogue: epilogue ? EPILOGUES[epilogue.kind] : 0,
  };
  if (readsTextures(kernel)) {
    // They choose by parameters, so they always bind a bias and an aux, and leave those alone that stand in.
    scope(() => {
      const written = all.aux ?? Tensor.empty(gpu, [4], 'f32', 'matmul.unused');
      const bound = { ...all, ...layerOperands(shape, operands), bias: bias ?? b, aux: written };
      const { TRANS_B } = layout;
      const overrides = { ...(kernel === panelKernel ? { TRANS_B } : layout), ...half };
      gpu.run(kernel, bound, { M, N, K, ...beside }, workgroups(choice, shape), { tune, overrides });
    });
    return;
  }
  gpu.run(kernel, all, { M, N, K, chunk }, workgroups(choice, shape), {
    tune: { ...tune, ...elements },
    overrides: {
      ...layout,
      ...{ BIAS: beside.bias, ACCUMULATE: beside.accumulate, EPILOGUE: beside.epilogue },
      // Where matrices are of f16, or stand in for them, there is nothing to choose.
      ...(kernel === matrixKernel ? {} : half),
    },
  });
}

const readsTextures = (kernel: Kernel): boolean =>
  [textureKernel, layersKernel, panelKernel].includes(kernel);

/** The operands with the columns of their stored matrices, for kernels that read these in layers. */
function layerOperands({ M, N, K, transA, transB }: MatmulShape, { a, b, epilogue }: MatmulOperands) {
  const matrix = ({ buffer, offset, bytes }: Tensor, columns: number) => ({ buffer, offset, bytes, columns });
  const left = matrix(a, transA ? M : K);
  const reads = epilogue !== undefined && epilogue.kind !== 'gelu';
  return { a: left, b: matrix(b, transB ? K : N), beside: reads ? matrix(epilogue.aux, N) : left };
}

function workgroups(choice: Choice, { M, N, batch }: MatmulShape): Workgroups {
  const extent = extentOf(choice);
  if (extent) return [Math.ceil(N / extent.columns), Math.ceil(M / extent.rows), batch];
  const groups = groupsFor(M * N, ROW_WG);
  const rows = Math.ceil(groups / 65535);
  return [Math.ceil(groups / rows), rows, batch];
}

/** A product on operands whose rows are whole units of the kernel's loads: copies, where they are not. */
function atWholeUnits(choice: Choice, shape: MatmulShape, operands: MatmulOperands): void {
  const { batch, M, N, K, transA, transB } = shape;
  const { c, bias, accumulate = false } = operands;
  const unit = ({ bits }: Tensor) => (choice.kernel === matrixKernel ? 128 / bits : 4);
  const wide = (x: Tensor, [rows, columns]: [number, number]) => widened(x, batch * rows, columns, unit(x));
  scope(() => {
    const a = wide(operands.a, transA ? [K, M] : [M, K]);
    const b = wide(operands.b, transB ? [N, K] : [K, N]);
    if (N % 4 === 0) return inParts(choice, shape, { ...operands, a, b });
    const whole = Tensor.empty(c.gpu, [batch * M, wholly(N, 4)], c.dtype, 'matmul.wide');
    dispatch(choice, shape, { a, b, c: whole, bias }, K);
    repitch(whole, c, { rows: batch * M, from: wholly(N, 4), to: N, accumulate });
  });
}

const wholly = (columns: number, unit: number): number => unit * Math.ceil(columns / unit);

/** x (rows, columns) with zeros behind each row, to whole units; x itself where there is nothing to fill. */
function widened(x: Tensor, rows: number, columns: number, unit: number): Tensor {
  const to = wholly(columns, unit);
  if (to === columns) return x;
  const wide = Tensor.empty(x.gpu, [rows, to], x.dtype, 'matmul.wide');
  repitch(x, wide, { rows, from: columns, to, accumulate: false });
  return wide;
}

function repitch(
  x: Tensor,
  y: Tensor,
  { rows, from, to, accumulate }: { rows: number; from: number; to: number; accumulate: boolean },
): void {
  x.gpu.run(pitchKernel, { x, y }, { rows, C: from, P: to }, Math.ceil(rows / PITCH_ROWS), {
    tune: { ElementX: x.bits, ElementY: y.bits },
    overrides: { ACCUMULATE: accumulate },
  });
}
