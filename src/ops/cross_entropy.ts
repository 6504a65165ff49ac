import backward from '../../kernels/loss/cross_entropy_backward.wgsl';
import forward from '../../kernels/loss/cross_entropy_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, need, numel, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';
import { groupsFor, ROW_WG } from './common.js';
import { sumInto } from './sum.js';

const forwardKernel = defineKernel('cross_entropy_forward', forward);
const backwardKernel = defineKernel('cross_entropy_backward', backward);

interface Attrs {
  /** ε of label smoothing, 0 for none. */
  readonly smoothing: number;
}

export const crossEntropyOp = defineOp<Attrs>({
  name: 'cross_entropy',
  formula:
    'loss = mean_r −Σ_k t[r, k] log softmax(logits[r])[k],   t = (1 − ε) target + ε/K; target (R) classes or (R, K) weights',
  shape: ([logits, target]) => {
    const [s, t] = [logits, target] as [Shape, Shape];
    const fits = t[0] === s[0] && (t.length === 1 || (t.length === 2 && t[1] === s[1]));
    need(
      s.length === 2 && fits,
      'cross_entropy',
      `target ${formatShape(t)} must be (R) or (R, K) for logits ${formatShape(s)} of (R, K).`,
    );
    return [1];
  },
  forward: ([logits, target], loss, { smoothing }) => {
    const [x, t] = [logits, target] as [Tensor, Tensor];
    const [R, K] = x.shape as [number, number];
    const each = Tensor.empty(x.gpu, [R], 'f32', 'cross_entropy.each');
    const probabilities = Tensor.empty(x.gpu, [R, K], 'f32', 'cross_entropy.probabilities');
    const operands = { logits: x, target_bits: t, loss: each, probabilities };
    const overrides = { SOFT: t.dtype === 'f32' };
    x.gpu.run(forwardKernel, operands, { R, K, smoothing }, groupsFor(R, ROW_WG), { overrides });
    sumInto(each, loss, 1 / R);
    return [probabilities];
  },
  backward: ({ inputs: [logits, target], saved, dy, attrs, grad }) => {
    const t = target as Tensor;
    const { tensor: dlogits, accumulate } = grad(0);
    const [R, K] = (logits as Tensor).shape as [number, number];
    const operands = { probabilities: saved[0] as Tensor, target_bits: t, dloss: dy, dlogits };
    const overrides = { SOFT: t.dtype === 'f32', ACCUMULATE: accumulate };
    t.gpu.run(backwardKernel, operands, { R, K, smoothing: attrs.smoothing }, groupsFor(R, ROW_WG), {
      overrides,
    });
  },
  needs: { inputs: [1] },
  differentiable: [0],
  flops: ([logits]) => 8 * numel(logits as Shape),
  reference: ([logits, target], [shape, targetShape], { smoothing }) => {
    const [R, K] = shape as [number, number];
    const epsilon = Math.fround(smoothing);
    const soft = (targetShape as Shape).length === 2;
    let total = 0;
    for (let r = 0; r < R; r++) {
      const row = (logits as Float64Array).subarray(r * K, (r + 1) * K);
      const highest = Math.max(...row);
      const logSum = Math.log(row.reduce((sum, x) => sum + Math.exp(x - highest), 0));
      for (let k = 0; k < K; k++) {
        const wanted = soft ? target![r * K + k]! : Number(target![r] === k);
        total -= ((1 - epsilon) * wanted + epsilon / K) * (row[k]! - highest - logSum);
      }
    }
    return Float64Array.of(total / R);
  },
  samples: [
    [1, 1],
    [2, 3],
    [7, 10],
    [65, 5],
    [3, 257],
  ].flatMap(([R, K]) => [
    { inputs: [[R!, K!], { u32: [R!], below: K! }], attrs: { smoothing: 0 } },
    { inputs: [[R!, K!], { u32: [R!], below: K! }], attrs: { smoothing: 0.1 } },
    { inputs: [[R!, K!], { rows: [R!, K!] }], attrs: { smoothing: 0.1 } },
  ]),
  bench: [{ inputs: [[64, 10], { u32: [64], below: 10 }], attrs: { smoothing: 0 } }],
  errors: [
    {
      shapes: [[4, 10], [3]],
      attrs: { smoothing: 0 },
      says: /\[cross_entropy\] target \(3,\).*logits \(4, 10\)/,
    },
  ],
});

/** Mean cross-entropy (torch.nn.functional.cross_entropy): logits (R, K), target (R) u32 classes or (R, K) weights. */
export const crossEntropy = (logits: Tensor, target: Tensor, smoothing = 0): Tensor =>
  apply(crossEntropyOp, [logits, target], { smoothing });
