import backward from '../../kernels/loss/cross_entropy_backward.wgsl';
import forward from '../../kernels/loss/cross_entropy_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG } from './common.js';
import { sumInto } from './sum.js';

const forwardKernel = defineKernel('cross_entropy_forward', forward);
const backwardKernel = defineKernel('cross_entropy_backward', backward);

interface Attrs {
  /** ε of label smoothing; 0 disables it. */
  readonly smoothing: number;
}

/** Classes without and with smoothing, and weights. */
function rows(R: number, K: number) {
  const logits = [R, K];
  const target = { u32: [R], below: K };
  return [
    { inputs: { logits, target }, attrs: { smoothing: 0 } },
    { inputs: { logits, target }, attrs: { smoothing: 0.1 } },
    { inputs: { logits, target: { rows: [R, K] } }, attrs: { smoothing: 0.1 } },
  ];
}

export const crossEntropyOp = defineOp({
  name: 'cross_entropy',
  inputs: ['logits', 'target'],
  formula:
    'loss = mean_r −Σ_k t[r, k] log softmax(logits[r])[k],   t = (1 − ε) target + ε/K; target (R) classes or (R, K) weights',
  shape: ({ logits, target }) => {
    const [R, K] = logits;
    const fits = target[0] === R && (target.length === 1 || (target.length === 2 && target[1] === K));
    need(
      logits.length === 2 && fits,
      'cross_entropy',
      `target ${formatShape(target)} must be (R) or (R, K) for logits ${formatShape(logits)} of (R, K).`,
    );
    return [1];
  },
  forward: ({ logits, target }, loss, { smoothing }: Attrs) => {
    const { gpu, shape } = logits;
    const [R, K] = shape as [number, number];
    const each = Tensor.empty(gpu, [R], 'f32', 'cross_entropy.each');
    const probabilities = Tensor.empty(gpu, shape, 'f32', 'cross_entropy.probabilities');
    const operands = { logits, target_bits: target, loss: each, probabilities };
    const overrides = { SOFT: target.dtype === 'f32' };
    gpu.run(forwardKernel, operands, { R, K, smoothing }, groupsFor(R, ROW_WG), { overrides });
    sumInto(each, loss, 1 / R);
    return { probabilities };
  },
  backward: ({ inputs: { target }, saved: { probabilities }, dy, attrs: { smoothing }, grad }) => {
    const { tensor: dlogits, accumulate } = grad('logits');
    const [R, K] = dlogits.shape as [number, number];
    const operands = { probabilities, target_bits: target, dloss: dy, dlogits };
    const overrides = { SOFT: target.dtype === 'f32', ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, operands, { R, K, smoothing }, groupsFor(R, ROW_WG), { overrides });
  },
  needs: { inputs: ['target'] },
  differentiable: ['logits'],
  flops: ({ logits }) => 8 * numel(logits),
  reference: ({ logits, target }, shapes, { smoothing }) => {
    const [R, K] = shapes.logits as [number, number];
    const epsilon = Math.fround(smoothing);
    const soft = shapes.target.length === 2;
    let total = 0;
    for (let r = 0; r < R; r++) {
      const row = logits.subarray(r * K, (r + 1) * K);
      const highest = Math.max(...row);
      const logSum = Math.log(row.reduce((sum, x) => sum + Math.exp(x - highest), 0));
      for (let k = 0; k < K; k++) {
        const wanted = soft ? target[r * K + k]! : Number(target[r] === k);
        total -= ((1 - epsilon) * wanted + epsilon / K) * (row[k]! - highest - logSum);
      }
    }
    return Float64Array.of(total / R);
  },
  samples: [...rows(1, 1), ...rows(2, 3), ...rows(7, 10), ...rows(65, 5), ...rows(3, 257)],
  bench: [{ inputs: { logits: [64, 10], target: { u32: [64], below: 10 } }, attrs: { smoothing: 0 } }],
  errors: [
    {
      shapes: { logits: [4, 10], target: [3] },
      says: /\[cross_entropy\] target \(3,\).*logits \(4, 10\)/,
    },
  ],
});

/** Mean cross-entropy (torch.nn.functional.cross_entropy): logits (R, K), target (R) u32 classes or (R, K) weights. */
export const crossEntropy = (logits: Tensor, target: Tensor, smoothing = 0): Tensor =>
  apply(crossEntropyOp, { logits, target }, { smoothing });
