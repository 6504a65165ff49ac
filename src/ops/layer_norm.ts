import backward from '../../kernels/layer_norm/layer_norm_backward.wgsl';
import backwardSubgroup from '../../kernels/layer_norm/layer_norm_backward_subgroup.wgsl';
import forward from '../../kernels/layer_norm/layer_norm_forward.wgsl';
import forwardSubgroup from '../../kernels/layer_norm/layer_norm_forward_subgroup.wgsl';
import parameters from '../../kernels/layer_norm/layer_norm_parameters_backward.wgsl';
import { apply, defineOp, type Target } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import type { Family } from '../gpu/variants.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import { chunksOf, columnSum } from './column_sum.js';
import { groupsFor, quadsOf, ROW_WG } from './common.js';

interface Attrs {
  readonly eps: number;
  /** The dtype of the result and of its gradient; f32 when absent. */
  readonly dtype?: DType;
}

interface Columns {
  readonly C: number;
}

// Quads a lane may hold in registers, weight, bias and row each.
const MOST_QUADS = 16;

const family = (name: string, subgroup: string, plain: string): Family<Columns> => ({
  name,
  knob: () => 'layerNorm',
  variants: [
    {
      kind: 'subgroup',
      kernel: defineKernel(`${name}_subgroup`, subgroup),
      tune: ({ lanes }, { C }) => {
        const quads = Math.ceil(C / 4 / lanes);
        return lanes > 0 && lanes <= ROW_WG && C % 4 === 0 && quads <= MOST_QUADS
          ? { LANES: lanes, QUADS: quads }
          : null;
      },
    },
    { kind: 'plain', kernel: defineKernel(name, plain), tune: () => ({}) },
  ],
});
const forwards = family('layer_norm_forward', forwardSubgroup, forward);
const backwards = family('layer_norm_backward', backwardSubgroup, backward);
const parameterKernel = defineKernel('layer_norm_parameters_backward', parameters);

/** For the kernels with subgroups: rows a subgroup, the number of subgroups that have rows, and workgroups. */
function subgroups({ gpu }: Tensor, R: number): { chunk: number; count: number; workgroups: number } {
  const chunk = Math.ceil(R / Math.min(R, gpu.info.knobs.layerNormSubgroups));
  const count = Math.ceil(R / chunk);
  return { chunk, count, workgroups: groupsFor(count, ROW_WG / gpu.info.lanes) };
}

/** The same for the plain kernels: a workgroup a row, parameter gradients by chunks of rows. */
function rowByRow(x: Tensor, R: number): { chunk: number; count: number; workgroups: number } {
  const { chunk, chunks } = chunksOf(x.gpu, R);
  return { chunk, count: chunks, workgroups: R };
}

const rowsAndColumns = (shape: Shape) => ({ R: rowsOf(shape), C: lastAxis(shape) });

/** y = the rows of x normalised over the last axis; returns their statistics (R, 2), which the backward pass needs. */
export function layerNormForward(x: Tensor, weight: Tensor, bias: Tensor, y: Tensor, eps: number): Tensor {
  const { R, C } = rowsAndColumns(x.shape);
  const stats = Tensor.empty(x.gpu, [R, 2], 'f32', 'layer_norm.stats');
  const choice = x.gpu.pick(forwards, { C });
  const { kernel } = choice;
  const tune = { ...choice.tune, ElementY: y.bits };
  const operands = { x, weight, bias, y, stats };
  if (choice.tune.QUADS) {
    const { chunk, workgroups } = subgroups(x, R);
    x.gpu.run(kernel, operands, { R, quads: C / 4, chunk, eps }, workgroups, { tune });
  } else x.gpu.run(kernel, operands, { R, C, eps }, R, { tune });
  return stats;
}

interface LayerNormGradient {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly stats: Tensor;
  readonly dy: Tensor;
}

/** Writes the gradients that have a place. */
export function layerNormBackward(
  { x, weight, stats, dy }: LayerNormGradient,
  places: { readonly dx: Target | null; readonly dweight: Target | null; readonly dbias: Target | null },
): void {
  const { gpu } = x;
  const { R, C } = rowsAndColumns(x.shape);
  const { kernel, tune } = gpu.pick(backwards, { C });
  const quads = quadsOf(C);
  const { tensor: dx, accumulate } = places.dx ?? {
    tensor: Tensor.empty(gpu, x.shape, 'f32', 'layer_norm.dx'),
    accumulate: false,
  };
  const { count, chunk, workgroups } = tune.QUADS ? subgroups(x, R) : rowByRow(x, R);
  const dweight = Tensor.empty(gpu, [count, 4 * quads], 'f32', 'layer_norm.dweight');
  const dbias = Tensor.empty(gpu, [count, 4 * quads], 'f32', 'layer_norm.dbias');
  const parts = { dweight, dbias };
  const operands = { x, dy, weight, stats, dx, ...parts };
  const params = { R, C, quads, chunk, accumulate: Number(accumulate) };
  const overrides = tune.QUADS ? {} : { ACCUMULATE: accumulate };
  const ElementDy = dy.bits;
  gpu.run(kernel, operands, params, workgroups, { tune: { ...tune, ElementDy }, overrides });
  if (!places.dweight && !places.dbias) return;
  const groups = [groupsFor(quads, ROW_WG), count] as const;
  if (!tune.QUADS) {
    const operands = { x, dy, stats, ...parts };
    gpu.run(parameterKernel, operands, { R, C, chunk }, groups, { tune: { ElementDy } });
  }
  for (const name of ['dweight', 'dbias'] as const) {
    const place = places[name];
    const sum = { rows: count, columns: C, stride: 4 * quads };
    if (place) columnSum(parts[name], place.tensor, { ...sum, accumulate: place.accumulate });
  }
}

/** The specification of one row, in float64. */
export function normalisedRow(
  row: Float64Array,
  weight: Float64Array,
  bias: Float64Array,
  eps: number,
): Float64Array {
  const mean = row.reduce((a, b) => a + b, 0) / row.length;
  const rstd = 1 / Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / row.length + eps);
  return row.map((v, c) => (v - mean) * rstd * weight[c]! + bias[c]!);
}

function row(x: Shape) {
  const parameter = [lastAxis(x)];
  return { inputs: { x, weight: parameter, bias: parameter }, attrs: { eps: 1e-6 } };
}

export const layerNormOp = defineOp({
  name: 'layer_norm',
  inputs: ['x', 'weight', 'bias'],
  formula: 'y = (x − mean) · rstd · weight + bias over the last axis,   rstd = 1/√(var + eps)',
  shape: ({ x, weight, bias }) => {
    const fits = (s: Shape) => s.length === 1 && s[0] === lastAxis(x);
    need(
      x.length >= 1 && fits(weight) && fits(bias),
      'layer_norm',
      `weight ${formatShape(weight)} and bias ${formatShape(bias)} must have the last axis of x ${formatShape(x)}.`,
    );
    return x;
  },
  dtype: (_, { dtype = 'f32' }: Attrs) => dtype,
  forward: ({ x, weight, bias }, y, { eps }) => ({ stats: layerNormForward(x, weight, bias, y, eps) }),
  backward: ({ inputs: { x, weight }, saved: { stats }, dy, wanted }) => {
    const places = { dx: wanted('x'), dweight: wanted('weight'), dbias: wanted('bias') };
    layerNormBackward({ x, weight, stats, dy }, places);
  },
  needs: { inputs: ['x', 'weight'] },
  flops: ({ x }) => 8 * numel(x),
  reference: ({ x, weight, bias }, shapes, { eps }) => {
    const C = lastAxis(shapes.x);
    const y = new Float64Array(x.length);
    for (let start = 0; start < y.length; start += C)
      y.set(normalisedRow(x.subarray(start, start + C), weight, bias, eps), start);
    return y;
  },
  samples: [
    row([1, 2]),
    row([3, 7]),
    row([2, 257]),
    row([5, 8]),
    row([65, 12]),
    row([3, 64]),
    row([17, 192]),
    row([2, 1031]),
    row([130, 4]),
  ],
  bench: [row([64, 65, 192])],
  errors: [
    { shapes: { x: [2, 5], weight: [4], bias: [5] }, says: /\[layer_norm\] weight \(4,\).*x \(2, 5\)/ },
  ],
});

/**
 * Layer normalisation over the last axis (torch.nn.functional.layer_norm): x (…, C), weight and bias (C), all f32; the
 * result may be of f16.
 */
export const layerNorm = (
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  eps = 1e-6,
  dtype: DType = 'f32',
): Tensor => apply(layerNormOp, { x, weight, bias }, { eps, dtype });
