/** The optimizer's kernels, over the flat arena. Not differentiable, so not ops: called by src/optim. */
import adamwSource from '../../kernels/optimizer/adamw_step.wgsl';
import clipSource from '../../kernels/optimizer/clip_norm_step.wgsl';
import emaSource from '../../kernels/optimizer/ema_step.wgsl';
import lossScaleSource from '../../kernels/optimizer/loss_scale_step.wgsl';
import nonFiniteSource from '../../kernels/optimizer/non_finite_reduce.wgsl';
import { defineKernel } from '../gpu/pipeline.js';
import type { Region } from '../gpu/pool.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import { elementwise, groupsFor, ROW_WG } from './common.js';
import { castInto } from './scale.js';
import { PARTIALS, sumSquares } from './sum.js';

const adamwKernel = defineKernel('adamw_step', adamwSource);
const clipKernel = defineKernel('clip_norm_step', clipSource);
const emaKernel = defineKernel('ema_step', emaSource);
const lossScaleKernel = defineKernel('loss_scale_step', lossScaleSource);
const nonFiniteKernel = defineKernel('non_finite_reduce', nonFiniteSource);

/** A part of a tensor, of whole quads: `elements` floats from `start` on. */
const part = (x: Tensor, start: number, elements: number): Region => ({
  buffer: x.buffer,
  offset: x.offset + 4 * start,
  bytes: 4 * elements,
});

/** Calls `body` for ranges of n floats that one binding can hold. */
function inParts(x: Tensor, body: (start: number, count: number) => void): void {
  const most = Math.floor(x.gpu.device.limits.maxStorageBufferBindingSize / 4096) * 1024;
  for (let start = 0; start < x.size; start += most) body(start, Math.min(most, x.size - start));
}

export interface AdamWState {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  /** Factors of the learning rate, element by element; none when absent. */
  readonly scale?: Tensor | undefined;
}

export interface AdamWConstants {
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Number of floats at the front that decay. */
  readonly decayed: number;
}

/** One step of AdamW over flat tensors of the same size; rate and bias corrections come from `step`. */
export function adamwStep(state: AdamWState, clip: Tensor, step: Tensor, constants: AdamWConstants): void {
  const { beta1, beta2, eps, weightDecay, decayed } = constants;
  const { gpu } = step;
  inParts(state.parameter, (start, n) => {
    const operands = {
      gradient: part(state.gradient, start, n),
      clip,
      step,
      parameter: part(state.parameter, start, n),
      m: part(state.m, start, n),
      v: part(state.v, start, n),
      scale: state.scale && part(state.scale, start, n),
    };
    const quads = Math.min(Math.max(decayed - start, 0), n) / 4;
    const rests = { rest1: 1 - beta1, rest2: 1 - beta2 };
    const params = { quads: n / 4, decayed: quads, beta1, beta2, ...rests, eps, weight_decay: weightDecay };
    const overrides = { SCALED: state.scale !== undefined };
    gpu.run(adamwKernel, operands, params, elementwise(n), { overrides });
  });
}

/** The parameters' copies in f16: the nearest to each. */
export function roundParameters(values: Tensor, halves: Tensor): void {
  inParts(values, (start, n) => {
    scope(() => castInto(values.view([n], start), halves.view([n], start)));
  });
}

/** average ← d · average + (1 − d) · weights, d from `step`. */
export function emaStep(average: Tensor, weights: Tensor, step: Tensor): void {
  inParts(average, (start, n) => {
    const operands = { w: part(weights, start, n), step, e: part(average, start, n) };
    step.gpu.run(emaKernel, operands, { quads: n / 4 }, elementwise(n));
  });
}

/**
 * clip (2) ← (norm of the gradient, the factor that clips it to maxNorm); maxNorm 0 for the norm alone. With `scale`,
 * the gradient is that many times too large, and the factor takes that back.
 */
export function clipNorm(gradient: Tensor, clip: Tensor, maxNorm: number, scale?: Tensor): void {
  scope(() => {
    const ranges: [number, number][] = [];
    inParts(gradient, (start, n) => ranges.push([start, n]));
    const partial = Tensor.empty(clip.gpu, [ranges.length * PARTIALS], 'f32', 'clip.partial');
    ranges.forEach(([start, n], i) => {
      // Partial sums of one range may not start where a binding can; they are copied to their place.
      const alone = ranges.length === 1;
      const target = alone ? partial : Tensor.empty(clip.gpu, [PARTIALS], 'f32', 'clip.partial');
      sumSquares(part(gradient, start, n), n, target);
      if (!alone) clip.gpu.copy(target, part(partial, i * PARTIALS, PARTIALS));
    });
    const operands = { partial, clip, scale };
    const overrides = { SCALED: scale !== undefined };
    clip.gpu.run(clipKernel, operands, { count: partial.size, max_norm: maxNorm }, 1, { overrides });
  });
}

/** Words of loss_scale_step's state: scale, good steps since it changed, skipped steps, those in a row, 1 − β1^t, 1 − β2^t. */
export const LOSS_SCALE_WORDS = 6;

/** Updates the loss scale by the gradient norm in `clip`, and the bias corrections in `step` to the number of steps taken. */
export function lossScaleStep(
  operands: { readonly clip: Tensor; readonly state: Tensor; readonly step: Tensor },
  constants: { readonly interval: number; readonly beta1: number; readonly beta2: number },
): void {
  const { beta1, beta2 } = constants;
  const params = { ...constants, rest1: 1 - beta1, rest2: 1 - beta2 };
  operands.state.gpu.run(lossScaleKernel, operands, params, 1);
}

/** Partial minima of findNonFinite. */
export const NON_FINITE_PARTIALS = 2048;
/** A partial minimum over values that are all finite. */
export const ALL_FINITE = 0xffffffff;

/**
 * first (NON_FINITE_PARTIALS) ← partial minima of the indices of NaN and infinite values in x, an arena. With `clip`, x is
 * read only where the norm in `clip` is not finite.
 */
export function findNonFinite(x: Tensor, first: Tensor, clip?: Tensor): void {
  const { gpu } = x;
  inParts(x, (start, n) => {
    const operands = { x: part(x, start, n), clip, first };
    const params = { quads: n / 4, threads: first.size, start };
    const overrides = { GATED: clip !== undefined, ACCUMULATE: start > 0 };
    gpu.run(nonFiniteKernel, operands, params, groupsFor(first.size, ROW_WG), { overrides });
  });
}
