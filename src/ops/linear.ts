import { apply, defineOp, type Target } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape, sameShape } from '../core/shape.js';
import type { DType, Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { passGrad } from './gradients.js';
import { type Epilogue, runMatmul } from './product.js';

/** Rows, inputs and outputs; a weight of more than two axes (a convolution's) is flattened behind the first. */
function sizes([x, weight]: readonly Shape[]): { rows: number; inputs: number; outputs: number } {
  const [s, w] = [x, weight] as [Shape, Shape];
  return { rows: rowsOf(s), inputs: lastAxis(s), outputs: w[0] as number };
}

interface Layer {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias?: Tensor | undefined;
}

/** y = x · weightᵀ + bias, and the epilogue. */
export function linearForward({ x, weight, bias }: Layer, y: Tensor, epilogue?: Epilogue): void {
  const { rows, inputs, outputs } = sizes([x.shape, weight.shape]);
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
  const { rows, inputs, outputs } = sizes([x.shape, weight.shape]);
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
  const { rows, inputs, outputs } = sizes([x.shape, weight.shape]);
  const together = dweight && dbias && dweight.accumulate === dbias.accumulate;
  if (dweight) {
    const shape = { batch: 1, M: outputs, N: inputs, K: rows, transA: true, transB: false };
    const { tensor: c, accumulate } = dweight;
    runMatmul(shape, { a: dy, b: x, c, accumulate, sums: together ? dbias.tensor : undefined });
  }
  if (dbias && !together)
    columnSum(dy, dbias.tensor, { rows, columns: outputs, accumulate: dbias.accumulate });
}

/** Which inputs an op of this file has behind x and weight. */
interface Attrs {
  readonly bias: boolean;
  /** Whether the last input is added to the result. */
  readonly residual: boolean;
  /** Of the result without a residual, and of its gradient; f32 when absent. */
  readonly dtype?: DType;
}

function split(
  operands: readonly Tensor[],
  { bias, residual }: Attrs,
): Layer & { readonly residual: Tensor | undefined } {
  const [x, weight] = operands as [Tensor, Tensor];
  return {
    x,
    weight,
    bias: bias ? operands[2] : undefined,
    residual: residual ? operands.at(-1) : undefined,
  };
}

export const linearOp = defineOp<Attrs>({
  name: 'linear',
  formula:
    'y = x · weightᵀ (+ bias) (+ residual),   x (…, in), weight (out, in), bias (out), residual (…, out)',
  shape: (shapes, { bias: hasBias, residual }) => {
    const [x, weight, bias] = shapes as [Shape, Shape, Shape | undefined];
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
    if (hasBias && bias)
      need(
        bias.length === 1 && bias[0] === weight[0],
        'linear',
        `bias ${formatShape(bias)} must have one value per output of weight ${formatShape(weight)}.`,
      );
    const y = [...x.slice(0, -1), weight[0] as number];
    if (residual) {
      const other = shapes.at(-1) as Shape;
      need(
        sameShape(other, y),
        'linear',
        `residual ${formatShape(other)} must have the shape of the result ${formatShape(y)}.`,
      );
    }
    return y;
  },
  // A sum with a residual is what later layers add to: it stays f32.
  dtype: (_, { residual, dtype = 'f32' }) => (residual ? 'f32' : dtype),
  halves: [0],
  forward: (operands, y, attrs) => {
    const layer = split(operands, attrs);
    linearForward(layer, y, layer.residual && { kind: 'residual', aux: layer.residual });
    return [];
  },
  backward: (call) => {
    const { inputs, dy, attrs, wants, grad } = call;
    const layer = split(inputs, attrs);
    if (attrs.residual) passGrad(call, inputs.length - 1);
    if (wants(0)) linearInputGradient(layer, dy, grad(0));
    const dbias = layer.bias && wants(2) ? grad(2) : null;
    linearParameterGradients(layer, dy, wants(1) ? grad(1) : null, dbias);
  },
  needs: { inputs: [0, 1] },
  flops: (shapes) => {
    const { rows, inputs, outputs } = sizes(shapes);
    return 2 * rows * inputs * outputs;
  },
  terms: (shapes) => sizes(shapes).inputs + 2,
  reference: (values, shapes, { bias, residual }) => {
    const [x, weight] = values as [Float64Array, Float64Array];
    const { rows, inputs, outputs } = sizes(shapes);
    const y = new Float64Array(rows * outputs);
    for (let r = 0; r < rows; r++)
      for (let o = 0; o < outputs; o++) {
        let sum = (bias ? values[2]![o]! : 0) + (residual ? values.at(-1)![r * outputs + o]! : 0);
        for (let i = 0; i < inputs; i++) sum += x[r * inputs + i]! * weight[o * inputs + i]!;
        y[r * outputs + o] = sum;
      }
    return y;
  },
  samples: [
    sample([1, 1], [1, 1], { bias: true }),
    sample([3, 7], [2, 7], { bias: true }),
    sample([2, 5, 12], [8, 12], { bias: true }),
    sample([65, 16], [68, 16], { bias: true }),
    sample([65, 16], [10, 16], {}),
    sample([4, 12], [8, 3, 2, 2], { bias: true }),
    sample([257, 4], [4, 4], { bias: true }),
    sample([67, 8], [132, 8], { bias: true, residual: true }),
    sample([3, 7], [5, 7], { residual: true }),
  ],
  bench: [
    sample([64, 65, 192], [768, 192], { bias: true }),
    sample([64, 65, 768], [192, 768], { bias: true, residual: true }),
  ],
  errors: [
    {
      shapes: [
        [2, 5],
        [4, 6],
      ],
      attrs: { bias: false, residual: false },
      says: /\[linear\] last axis of x \(2, 5\) must equal the input axis of weight \(4, 6\)/,
    },
    { shapes: [[2, 6], [4, 6], [6]], attrs: { bias: true, residual: false }, says: /\[linear\] bias \(6,\)/ },
    {
      shapes: [
        [2, 6],
        [4, 6],
        [2, 6],
      ],
      attrs: { bias: false, residual: true },
      says: /\[linear\] residual \(2, 6\)/,
    },
  ],
});

function sample(x: Shape, weight: Shape, { bias = false, residual = false }: Partial<Attrs>) {
  const outputs = weight[0] as number;
  const more = [...(bias ? [[outputs]] : []), ...(residual ? [[...x.slice(0, -1), outputs]] : [])];
  return { inputs: [x, weight, ...more], attrs: { bias, residual } };
}

export interface LinearOptions {
  /** (…, out), added in the same pass. */
  readonly residual?: Tensor | undefined;
  /** Of the result without a residual; f32 when absent. */
  readonly dtype?: DType;
}

/** x · weightᵀ + bias (torch.nn.functional.linear): x (…, in) of f32 or f16, weight (out, in), bias (out). */
export function linear(
  x: Tensor,
  weight: Tensor,
  bias?: Tensor,
  { residual, dtype = 'f32' }: LinearOptions = {},
): Tensor {
  const inputs = [x, weight, ...(bias ? [bias] : []), ...(residual ? [residual] : [])];
  return apply(linearOp, inputs, { bias: bias !== undefined, residual: residual !== undefined, dtype });
}
