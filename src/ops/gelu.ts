import backward from '../../kernels/elementwise/gelu_backward.wgsl';
import forward from '../../kernels/elementwise/gelu_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { numel } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Tensor } from '../tensor/tensor.js';
import { elementwise, quadsOf } from './common.js';

interface Attrs {
  /** `tanh` for the approximation that GPT and JAX models use. */
  readonly approximate: 'none' | 'tanh';
}

const forwardKernel = defineKernel('gelu_forward', forward);
const backwardKernel = defineKernel('gelu_backward', backward);

/** erf by its power series, and by the continued fraction of erfc where that converges better: float64 accuracy. */
export function erf(x: number): number {
  const z = Math.abs(x);
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-18 * sum; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (z + fraction);
  return Math.sign(x) * (1 - Math.exp(-z * z) / ((z + fraction) * Math.sqrt(Math.PI)));
}

export const geluOp = defineOp({
  name: 'gelu',
  inputs: ['x'],
  formula: 'y = x · Φ(x), Φ the normal distribution function; or its tanh approximation',
  shape: ({ x }) => x,
  dtype: ({ x }) => x.dtype,
  halves: ['x'],
  forward: ({ x }, y, { approximate }: Attrs) => {
    y.gpu.run(forwardKernel, { x, y }, { quads: quadsOf(y.size) }, elementwise(y.size), {
      tune: { Element: y.bits },
      overrides: { TANH: approximate === 'tanh' },
    });
  },
  backward: ({ inputs: { x }, dy, attrs, grad }) => {
    const { tensor: dx, accumulate } = grad('x');
    const overrides = { TANH: attrs.approximate === 'tanh', ACCUMULATE: accumulate };
    dy.gpu.run(backwardKernel, { x, dy, dx }, { quads: quadsOf(dy.size) }, elementwise(dy.size), {
      tune: { Element: dy.bits },
      overrides,
    });
  },
  needs: { inputs: ['x'] },
  flops: ({ x }) => 10 * numel(x),
  reference: ({ x }, _, { approximate }) =>
    x.map((v) =>
      approximate === 'tanh'
        ? 0.5 * v * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (v + 0.044715 * v ** 3)))
        : 0.5 * v * (1 + erf(v / Math.SQRT2)),
    ),
  samples: [1, 2, 3, 7, 255, 257, 1031].flatMap((n) =>
    (['none', 'tanh'] as const).map((approximate) => ({ inputs: { x: [n] }, attrs: { approximate } })),
  ),
  bench: [{ inputs: { x: [64, 65, 768] }, attrs: { approximate: 'none' } }],
  errors: [],
});

/** The Gaussian error linear unit (torch.nn.functional.gelu) of x, of any shape and f32 or f16; exact unless `approximate` is `tanh`. */
export const gelu = (x: Tensor, approximate: 'none' | 'tanh' = 'none'): Tensor =>
  apply(geluOp, { x }, { approximate });
