import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape, sameShape } from '../core/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { erf } from './gelu.js';
import { passGrad } from './gradients.js';
import { linearForward, linearInputGradient, linearParameterGradients } from './linear.js';
import { asFactor } from './product.js';

/** Shapes for C channels, x's last axis, and F hidden units. */
function row(x: Shape, F: number) {
  const C = lastAxis(x);
  return { x, w1: [F, C], b1: [F], w2: [C, F], b2: [C] };
}

/**
 * The MLP of a transformer as one op, so that gelu and its derivative are done while a product is in registers: the
 * hidden layer is written once before and once after gelu, in the dtype of x, and never read by a pass of its own.
 */
export const mlpOp = defineOp({
  name: 'mlp',
  inputs: ['x', 'w1', 'b1', 'w2', 'b2', 'residual?'],
  formula: 'y = gelu(x · w1ᵀ + b1) · w2ᵀ + b2 (+ residual),   x (…, C), w1 (F, C), b1 (F), w2 (C, F), b2 (C)',
  shape: ({ x, w1, b1, w2, b2, residual }) => {
    const [F, C, D] = [w1[0] as number, lastAxis(x), w2[0] as number];
    const first = sameShape(w1, [F, C]) && sameShape(b1, [F]);
    const fits = first && sameShape(w2, [D, F]) && sameShape(b2, [D]);
    need(
      fits,
      'mlp',
      `weights ${formatShape(w1)} and ${formatShape(w2)} with biases ${formatShape(b1)} and ${formatShape(b2)} do not follow x ${formatShape(x)}.`,
    );
    const y = [...x.slice(0, -1), D];
    if (residual)
      need(
        sameShape(residual, y),
        'mlp',
        `residual ${formatShape(residual)} must have the shape of the result ${formatShape(y)}.`,
      );
    return y;
  },
  halves: ['x'],
  forward: ({ x, w1, b1, w2, b2, residual }, y) => {
    const shape = [...x.shape.slice(0, -1), w1.shape[0] as number];
    const before = Tensor.empty(x.gpu, shape, x.dtype, 'mlp.before');
    const hidden = Tensor.empty(x.gpu, shape, x.dtype, 'mlp.hidden');
    linearForward({ x, weight: w1, bias: b1 }, hidden, { kind: 'gelu', aux: before });
    const epilogue = residual && ({ kind: 'residual', aux: residual } as const);
    linearForward({ x: hidden, weight: w2, bias: b2 }, y, epilogue);
    return { before, hidden };
  },
  backward: (call) => {
    const { wanted } = call;
    const { x, w1, w2 } = call.inputs;
    const { before, hidden } = call.saved;
    passGrad(call, 'residual');
    const dy = asFactor(call.dy);
    const second = { x: hidden, weight: w2 };
    linearParameterGradients(second, dy, wanted('w2'), wanted('b2'));
    const dhidden = Tensor.empty(x.gpu, hidden.shape, hidden.dtype, 'mlp.dhidden');
    linearInputGradient(
      second,
      dy,
      { tensor: dhidden, accumulate: false },
      { kind: 'gelu_gradient', aux: before },
    );
    const first = { x, weight: w1 };
    linearParameterGradients(first, dhidden, wanted('w1'), wanted('b1'));
    const dx = wanted('x');
    if (dx) linearInputGradient(first, dhidden, dx);
  },
  needs: { inputs: ['x', 'w1', 'w2'] },
  flops: ({ x, w1, w2 }) => 2 * rowsOf(x) * (numel(w1) + numel(w2)),
  backwardFlops: 2, // two gradients of each product, a product each
  reference: ({ x, w1, b1, w2, b2, residual }, shapes) => {
    const [R, C] = [rowsOf(shapes.x), lastAxis(shapes.x)];
    const [F, D] = [b1.length, b2.length];
    const y = new Float64Array(R * D);
    for (let r = 0; r < R; r++) {
      const hidden = b1.map((bias, f) => {
        let sum = bias;
        for (let c = 0; c < C; c++) sum += x[r * C + c]! * w1[f * C + c]!;
        return 0.5 * sum * (1 + erf(sum / Math.SQRT2));
      });
      for (let d = 0; d < D; d++)
        y[r * D + d] = hidden.reduce(
          (sum, h, f) => sum + h * w2[d * F + f]!,
          b2[d]! + (residual?.[r * D + d] ?? 0),
        );
    }
    return y;
  },
  tolerance: { atol: 1e-5, rtol: 1e-5 },
  samples: [row([1, 1], 1), row([3, 7], 5), row([65, 8], 12), row([67, 12], 68)].flatMap((inputs) => [
    { inputs },
    { inputs: { ...inputs, residual: inputs.x } },
  ]),
  bench: [{ inputs: row([64, 65, 192], 768) }],
  errors: [
    { shapes: { ...row([2, 4], 8), w1: [8, 5] }, says: /\[mlp\] weights \(8, 5\) and \(4, 8\)/ },
    { shapes: { ...row([2, 4], 8), residual: [2, 5] }, says: /\[mlp\] residual \(2, 5\)/ },
  ],
});

/**
 * gelu(x · w1ᵀ + b1) · w2ᵀ + b2 (+ residual) in two products: timm's Mlp. x (…, C) of f32 or f16, w1 (F, C), b1 (F), w2 (C, F),
 * b2 (C), residual and result (…, C) of f32.
 */
export const mlp = (x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, residual?: Tensor): Tensor =>
  apply(mlpOp, { x, w1, b1, w2, b2, residual });
