import { apply, defineOp, type Target } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape, sameShape } from '../core/shape.js';
import type { DType, Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { passGrad } from './gradients.js';
import { asFactor, type Epilogue, runMatmul } from './product.js';

interface Shapes {
  readonly x: Shape;
  readonly weight: Shape;
}

/** Rows, inputs and outputs. A weight of more than two axes (a convolution's) counts as (out, in). */
const sizes = ({ x, weight }: Shapes) => ({
  rows: rowsOf(x),
  inputs: lastAxis(x),
  outputs: weight[0] as number,
});

interface Layer {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor | undefined;
}

/** y = x · weightᵀ + bias, and the epilogue. */
export function linearForward({ x, weight, bias }: Layer, y: Tensor, epilogue?: Epilogue): void {
  const { rows, inputs, outputs } = sizes({ x: x.shape, weight: weight.shape });
  const shape = { batch: 1, M: rows, N: outputs, K: inputs, transA: false, transB: true };
  runMatmul(shape, { a: x, b: weight, c: y, bias, epilogue });
}

/** dx (+)= dy · weight, and the epilogue. */
export function linearInputGradient(
  { x, weight }: Layer,
  dy: Tensor,
  { tensor, accumulate }: Target,
  epilogue?: Epilogue,
): void {
  const { rows, inputs, outputs } = sizes({ x: x.shape, weight: weight.shape });
  const shape = { batch: 1, M: rows, N: inputs, K: outputs, transA: false, transB: false };
  runMatmul(shape, { a: dy, b: weight, c: tensor, accumulate, epilogue });
}

/** dweight (+)= dyᵀ · x, and in the same pass over dy, dbias (+)= Σ dy. */
export function linearParameterGradients(
  { x, weight }: Layer,
  dy: Tensor,
  dweight: Target | null,
  dbias: Target | null,
): void {
  const { rows, inputs, outputs } = sizes({ x: x.shape, weight: weight.shape });
  const together = dweight && dbias && dweight.accumulate === dbias.accumulate;
  if (dweight) {
    const shape = { batch: 1, M: outputs, N: inputs, K: rows, transA: true, transB: false };
    const { tensor: c, accumulate } = dweight;
    runMatmul(shape, { a: dy, b: x, c, accumulate, sums: together ? dbias.tensor : undefined });
  }
  if (dbias && !together)
    columnSum(dy, dbias.tensor, { rows, columns: outputs, accumulate: dbias.accumulate });
}

interface Attrs {
  /** The dtype of the result without a residual, and of its gradient; f32 when absent. */
  readonly dtype?: DType;
}

/** A sample with the optional inputs that `beside` names. */
function row(x: Shape, weight: Shape, beside: { bias?: boolean; residual?: boolean } = { bias: true }) {
  const outputs = weight[0] as number;
  const bias = beside.bias ? [outputs] : undefined;
  const residual = beside.residual ? [...x.slice(0, -1), outputs] : undefined;
  return { inputs: { x, weight, bias, residual }, attrs: {} };
}

export const linearOp = defineOp({
  name: 'linear',
  inputs: ['x', 'weight', 'bias?', 'residual?'],
  formula:
    'y = x · weightᵀ (+ bias) (+ residual),   x (…, in), weight (out, in), bias (out), residual (…, out)',
  shape: ({ x, weight, bias, residual }) => {
    need(
      x.length >= 1 && weight.length >= 2,
      'linear',
      `x ${formatShape(x)} needs one axis or more, weight ${formatShape(weight)} two.`,
    );
    const inputs = numel(weight.slice(1));
    need(
      lastAxis(x) === inputs,
      'linear',
      `last axis of x ${formatShape(x)} must equal the input axis of weight ${formatShape(weight)}.`,
    );
    if (bias)
      need(
        bias.length === 1 && bias[0] === weight[0],
        'linear',
        `bias ${formatShape(bias)} must have one value per output of weight ${formatShape(weight)}.`,
      );
    const y = [...x.slice(0, -1), weight[0] as number];
    if (residual)
      need(
        sameShape(residual, y),
        'linear',
        `residual ${formatShape(residual)} must have the shape of the result ${formatShape(y)}.`,
      );
    return y;
  },
  // The residual stream stays f32.
  dtype: ({ residual }, { dtype = 'f32' }: Attrs) => (residual ? 'f32' : dtype),
  halves: ['x'],
  forward: (inputs, y) => {
    const { residual } = inputs;
    linearForward(inputs, y, residual && { kind: 'residual', aux: residual });
  },
  backward: (call) => {
    const { inputs, dy, wanted } = call;
    passGrad(call, 'residual');
    const [dx, dweight] = [wanted('x'), wanted('weight')];
    const factor = dx && dweight ? asFactor(dy) : dy;
    if (dx) linearInputGradient(inputs, factor, dx);
    linearParameterGradients(inputs, factor, dweight, wanted('bias'));
  },
  needs: { inputs: ['x', 'weight'] },
  flops: (shapes) => {
    const { rows, inputs, outputs } = sizes(shapes);
    return 2 * rows * inputs * outputs;
  },
  backwardFlops: 2, // two gradients of the forward pass's product, a product each
  terms: (shapes) => sizes(shapes).inputs + 2,
  reference: ({ x, weight, bias, residual }, shapes) => {
    const { rows, inputs, outputs } = sizes(shapes);
    const y = new Float64Array(rows * outputs);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outputs; o++) {
        let sum = (bias?.[o] ?? 0) + (residual?.[r * outputs + o] ?? 0);
        for (let i = 0; i < inputs; i++) sum += x[r * inputs + i]! * weight[o * inputs + i]!;
        y[r * outputs + o] = sum;
      }
    return y;
  },
  samples: [
    row([1, 1], [1, 1]),
    row([3, 7], [2, 7]),
    row([2, 5, 12], [8, 12]),
    row([65, 16], [68, 16]),
    row([65, 16], [10, 16], {}),
    row([4, 12], [8, 3, 2, 2]),
    row([257, 4], [4, 4]),
    row([67, 8], [132, 8], { bias: true, residual: true }),
    row([3, 7], [5, 7], { residual: true }),
  ],
  bench: [row([64, 65, 192], [768, 192]), row([64, 65, 768], [192, 768], { bias: true, residual: true })],
  errors: [
    {
      shapes: { x: [2, 5], weight: [4, 6] },
      says: /\[linear\] last axis of x \(2, 5\) must equal the input axis of weight \(4, 6\)/,
    },
    { shapes: { x: [2, 6], weight: [4, 6], bias: [6] }, says: /\[linear\] bias \(6,\)/ },
    {
      shapes: { x: [2, 6], weight: [4, 6], residual: [2, 6] },
      says: /\[linear\] residual \(2, 6\)/,
    },
  ],
});

/** The options of `linear`. */
export interface LinearOptions {
  /** (…, out), added in the same pass. */
  readonly residual?: Tensor | undefined;
  /** The dtype of the result without a residual; f32 when absent. */
  readonly dtype?: DType;
}

/** x · weightᵀ + bias (torch.nn.functional.linear): x (…, in) of f32 or f16, weight (out, in), bias (out), to (…, out). */
export const linear = (
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  { residual, dtype = 'f32' }: LinearOptions = {},
): Tensor => apply(linearOp, { x, weight, bias, residual }, { dtype });
