/** Muon's kernels: momentum, orthogonalisation by Newton and Schulz, update. Not differentiable, so not ops. */
import momentumSource from '../../kernels/optimizer/muon_momentum_step.wgsl';
import normalizeSource from '../../kernels/optimizer/muon_normalize_step.wgsl';
import polynomialSource from '../../kernels/optimizer/muon_polynomial_step.wgsl';
import updateSource from '../../kernels/optimizer/muon_update_step.wgsl';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';
import { ELEMENTWISE_WG, groupsFor } from './common.js';
import { runMatmul } from './product.js';

const momentumKernel = defineKernel('muon_momentum_step', momentumSource);
const normalizeKernel = defineKernel('muon_normalize_step', normalizeSource);
const polynomialKernel = defineKernel('muon_polynomial_step', polynomialSource);
const updateKernel = defineKernel('muon_update_step', updateSource);

/** Coefficients that take all singular values near 1 in about five steps (Jordan et al., 2024). */
export const NEWTON_SCHULZ = { alpha: 3.4445, beta: -4.775, gamma: 2.0315 } as const;

const perElement = (n: number): number => groupsFor(n, ELEMENTWISE_WG);

/** m ← β m + (1 − β) g, and into x, from float `to` on, the direction of Nesterov's momentum; g is clipped by `clip`. */
export function muonMomentum(
  operands: { readonly gradient: Tensor; readonly m: Tensor; readonly x: Tensor; readonly clip: Tensor },
  to: number,
  beta: number,
): void {
  const n = operands.gradient.size;
  const params = { n, to, beta, rest: 1 - beta };
  operands.x.gpu.run(momentumKernel, operands, params, perElement(n));
}

/** parameter ← parameter − lr · (weightDecay · parameter + factor · x[at …]), lr that of `step` times `scale`. */
export function muonUpdate(
  operands: { readonly parameter: Tensor; readonly x: Tensor; readonly clip: Tensor; readonly step: Tensor },
  constants: {
    readonly at: number;
    readonly factor: number;
    readonly weightDecay: number;
    readonly scale: number;
  },
): void {
  const { at, factor, weightDecay, scale } = constants;
  const n = operands.parameter.size;
  const params = { n, at, factor, weight_decay: weightDecay, scale };
  operands.x.gpu.run(updateKernel, operands, params, perElement(n));
}

/** x[b] ← norm · x[b] / max(‖x[b]‖, 1e-7) for matrices x (batch, …); nothing where `clip` is given and drops the step. */
export function normalizeMatrices(x: Tensor, batch: number, norm: number, clip?: Tensor): void {
  const params = { batch, n: x.size / batch, norm };
  x.gpu.run(normalizeKernel, { clip, x }, params, batch, { overrides: { GATED: clip !== undefined } });
}

/**
 * The nearly orthogonal matrices of x (batch, rows, columns), U·Vᵀ of each one's singular vectors: `steps` steps of
 * x ← α x + β (x xᵀ) x + γ (x xᵀ)² x from x over its norm. The squares are on the shorter side, three products a step,
 * all matrices in one. Overwrites x; the result is x or memory of its own.
 */
export function orthogonalize(x: Tensor, steps: number): Tensor {
  const { gpu } = x;
  const [batch, rows, columns] = x.shape as [number, number, number];
  const tall = rows > columns;
  const side = Math.min(rows, columns);
  const gram = Tensor.empty(gpu, [batch, side, side], 'f32', 'muon.gram');
  const square = Tensor.empty(gpu, gram.shape, 'f32', 'muon.square');
  let [from, to] = [x, Tensor.empty(gpu, x.shape, 'f32', 'muon.x')];
  normalizeMatrices(x, batch, 1);
  for (let step = 0; step < steps; step++) {
    const K = Math.max(rows, columns);
    const inner = { batch, M: side, N: side, K, transA: tall, transB: !tall };
    runMatmul(inner, { a: from, b: from, c: gram });
    const plain = { transA: false, transB: false };
    runMatmul({ batch, M: side, N: side, K: side, ...plain }, { a: gram, b: gram, c: square });
    const { alpha, beta, gamma } = NEWTON_SCHULZ;
    const params = { rows: batch * side, C: side, alpha, beta, gamma };
    gpu.run(polynomialKernel, { a: gram, s: square }, params, batch * side);
    const [a, b] = tall ? [from, square] : [square, from];
    runMatmul({ batch, M: rows, N: columns, K: side, ...plain }, { a, b, c: to });
    [from, to] = [to, from];
  }
  return from;
}
