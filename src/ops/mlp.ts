import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape, sameShape } from '../core/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { erf } from './gelu.js';
import { passGrad } from './gradients.js';
import { linearForward, linearInputGradient, linearParameterGradients } from './linear.js';

/**
 * The MLP of a transformer as one op, so that gelu and its derivative are done while a product is in registers: the
 * hidden layer is written once before and once after gelu, in the dtype of x, and never read by a pass of its own.
 */
export const mlpOp = defineOp<{ residual: boolean }>({
  name: 'mlp',
  formula: 'y = gelu(x · w1ᵀ + b1) · w2ᵀ + b2 (+ residual),   x (…, C), w1 (F, C), b1 (F), w2 (C, F), b2 (C)',
  shape: (shapes, { residual }) => {
    const [x, w1, b1, w2, b2] = shapes as [Shape, Shape, Shape, Shape, Shape];
    const [F, C] = [w1[0] as number, lastAxis(x)];
    const fits =
      sameShape(w1, [F, C]) &&
      sameShape(b1, [F]) &&
      w2.length === 2 &&
      w2[1] === F &&
      sameShape(b2, [w2[0] as number]);
    need(
      fits,
      'mlp',
      `weights ${formatShape(w1)} and ${formatShape(w2)} with biases ${formatShape(b1)} and ${formatShape(b2)} do not follow x ${formatShape(x)}.`,
    );
    const y = [...x.slice(0, -1), w2[0] as number];
    const other = shapes[5] as Shape;
    if (residual)
      need(
        sameShape(other, y),
        'mlp',
        `residual ${formatShape(other)} must have the shape of the result ${formatShape(y)}.`,
      );
    return y;
  },
  halves: [0],
  forward: (inputs, y, { residual }) => {
    const [x, w1, b1, w2, b2] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const shape = [...x.shape.slice(0, -1), w1.shape[0] as number];
    const before = Tensor.empty(x.gpu, shape, x.dtype, 'mlp.before');
    const hidden = Tensor.empty(x.gpu, shape, x.dtype, 'mlp.hidden');
    linearForward({ x, weight: w1, bias: b1 }, hidden, { kind: 'gelu', aux: before });
    const aux = inputs[5] as Tensor;
    linearForward({ x: hidden, weight: w2, bias: b2 }, y, residual ? { kind: 'residual', aux } : undefined);
    return [before, hidden];
  },
  backward: (call) => {
    const { inputs, saved, dy, attrs, wants, grad } = call;
    const [x, w1, , w2] = inputs as [Tensor, Tensor, Tensor, Tensor];
    const [before, hidden] = saved as [Tensor, Tensor];
    const target = (i: number) => (wants(i) ? grad(i) : null);
    if (attrs.residual) passGrad(call, 5);
    const second = { x: hidden, weight: w2 };
    linearParameterGradients(second, dy, target(3), target(4));
    const dhidden = Tensor.empty(x.gpu, hidden.shape, hidden.dtype, 'mlp.dhidden');
    linearInputGradient(
      second,
      dy,
      { tensor: dhidden, accumulate: false },
      { kind: 'gelu_gradient', aux: before },
    );
    const first = { x, weight: w1 };
    linearParameterGradients(first, dhidden, target(1), target(2));
    if (wants(0)) linearInputGradient(first, dhidden, grad(0));
  },
  needs: { inputs: [0, 1, 3] },
  flops: ([x, w1, , w2]) => 2 * rowsOf(x as Shape) * (numel(w1 as Shape) + numel(w2 as Shape)),
  reference: ([x, w1, b1, w2, b2, residual], shapes) => {
    const [R, C] = [rowsOf(shapes[0] as Shape), lastAxis(shapes[0] as Shape)];
    const [F, D] = [b1!.length, b2!.length];
    const y = new Float64Array(R * D);
    for (let r = 0; r < R; r++) {
      const hidden = b1!.map((bias, f) => {
        let sum = bias;
        for (let c = 0; c < C; c++) sum += x![r * C + c]! * w1![f * C + c]!;
        return 0.5 * sum * (1 + erf(sum / Math.SQRT2));
      });
      for (let d = 0; d < D; d++)
        y[r * D + d] = hidden.reduce(
          (sum, h, f) => sum + h * w2![d * F + f]!,
          b2![d]! + (residual?.[r * D + d] ?? 0),
        );
    }
    return y;
  },
  tolerance: { atol: 1e-5, rtol: 1e-5 },
  samples: [
    [1, 1, 1],
    [3, 7, 5],
    [65, 8, 12],
    [67, 12, 68],
  ].flatMap(([R, C, F]) =>
    [false, true].map((residual) => ({
      inputs: [[R!, C!], [F!, C!], [F!], [C!, F!], [C!], ...(residual ? [[R!, C!]] : [])],
      attrs: { residual },
    })),
  ),
  bench: [{ inputs: [[64, 65, 192], [768, 192], [768], [192, 768], [192]], attrs: { residual: false } }],
  errors: [
    {
      shapes: [[2, 4], [8, 5], [8], [4, 8], [4]],
      attrs: { residual: false },
      says: /\[mlp\] weights \(8, 5\) and \(4, 8\)/,
    },
    {
      shapes: [[2, 4], [8, 4], [8], [4, 8], [4], [2, 5]],
      attrs: { residual: true },
      says: /\[mlp\] residual \(2, 5\)/,
    },
  ],
});

/** gelu(x · w1ᵀ + b1) · w2ᵀ + b2 (+ residual) in two products forward: x (…, C), w1 (F, C), w2 (C, F). */
export const mlp = (x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, residual?: Tensor): Tensor =>
  apply(mlpOp, [x, w1, b1, w2, b2, ...(residual ? [residual] : [])], { residual: residual !== undefined });
