import backward from '../../kernels/layer_norm_backward.wgsl';
import backwardSubgroup from '../../kernels/layer_norm_backward_subgroup.wgsl';
import forward from '../../kernels/layer_norm_forward.wgsl';
import forwardSubgroup from '../../kernels/layer_norm_forward_subgroup.wgsl';
import parameters from '../../kernels/layer_norm_parameters_backward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf, type Shape } from '../core/shape.js';
import { defineKernel, type Kernel } from '../gpu/pipeline.js';
import type { Family } from '../gpu/tuning.js';
import { Tensor } from '../tensor/tensor.js';
import { chunksOf, columnSum } from './column_sum.js';
import { groupsFor, quadsOf, ROW_WG } from './common.js';

interface Attrs {
  readonly eps: number;
}

interface Columns {
  readonly C: number;
}

const family = (name: string, subgroup: Kernel, plain: Kernel): Family<Columns> => ({
  name,
  variants: [
    {
      kernel: subgroup,
      tune: ({ features }, { C }) => (features.has('subgroups') && C % 4 === 0 ? {} : null),
    },
    { kernel: plain, tune: () => ({}) },
  ],
});
const subgroupForward = defineKernel('layer_norm_forward_subgroup', forwardSubgroup);
const subgroupBackward = defineKernel('layer_norm_backward_subgroup', backwardSubgroup);
const forwards = family('layer_norm_forward', subgroupForward, defineKernel('layer_norm_forward', forward));
const backwards = family(
  'layer_norm_backward',
  subgroupBackward,
  defineKernel('layer_norm_backward', backward),
);
const parameterKernel = defineKernel('layer_norm_parameters_backward', parameters);

// A subgroup has at least four lanes, so a workgroup of 64 covers at most 16 rows; with more lanes it covers fewer and
// surplus workgroups find nothing to do. Where the adapter fixes the size, the count is exact.
function workgroups(x: Tensor, kernel: Kernel, R: number): number {
  if (kernel !== subgroupForward && kernel !== subgroupBackward) return R;
  const lanes = x.gpu.info.lanes || ROW_WG;
  return groupsFor(R, ROW_WG / lanes);
}

const rowsAndColumns = (shape: Shape) => ({ R: rowsOf(shape), C: lastAxis(shape) });

export const layerNormOp = defineOp<Attrs>({
  name: 'layer_norm',
  formula: 'y = (x − mean) · rstd · weight + bias over the last axis,   rstd = 1/√(var + eps)',
  shape: (shapes) => {
    const [x, weight, bias] = shapes as [Shape, Shape, Shape];
    const fits = (s: Shape) => s.length === 1 && s[0] === lastAxis(x);
    need(
      x.length >= 1 && fits(weight) && fits(bias),
      'layer_norm',
      `weight ${formatShape(weight)} and bias ${formatShape(bias)} must have the last axis of x ${formatShape(x)}.`,
    );
    return x;
  },
  forward: (inputs, y, { eps }) => {
    const [x, weight, bias] = inputs as [Tensor, Tensor, Tensor];
    const { R, C } = rowsAndColumns(x.shape);
    const stats = Tensor.empty(x.gpu, [R, 2], 'f32', 'layer_norm.stats');
    const { kernel } = x.gpu.pick(forwards, { C });
    const params = { R, C, quads: C / 4, eps };
    x.gpu.run(kernel, { x, weight, bias, y, stats }, params, workgroups(x, kernel, R));
    return [stats];
  },
  backward: ({ inputs, saved, dy, wants, grad }) => {
    const [x, weight] = inputs as [Tensor, Tensor];
    const stats = saved[0] as Tensor;
    const { R, C } = rowsAndColumns(x.shape);
    if (wants(0)) {
      const { tensor: dx, accumulate } = grad(0);
      const { kernel } = x.gpu.pick(backwards, { C });
      const overrides = { ACCUMULATE: accumulate };
      x.gpu.run(kernel, { x, dy, weight, stats, dx }, { R, C, quads: C / 4 }, workgroups(x, kernel, R), {
        overrides,
      });
    }
    if (!wants(1) && !wants(2)) return;
    const { chunks, chunk } = chunksOf(R);
    const quads = quadsOf(C);
    const dweight = Tensor.empty(x.gpu, [chunks, 4 * quads], 'f32', 'layer_norm.dweight');
    const dbias = Tensor.empty(x.gpu, [chunks, 4 * quads], 'f32', 'layer_norm.dbias');
    x.gpu.run(parameterKernel, { x, dy, stats, dweight, dbias }, { R, C, chunk }, [
      groupsFor(quads, ROW_WG),
      chunks,
    ]);
    for (const [i, part] of [dweight, dbias].entries()) {
      if (!wants(1 + i)) continue;
      const { tensor, accumulate } = grad(1 + i);
      columnSum(part, tensor, { rows: chunks, columns: C, stride: 4 * quads, accumulate });
    }
  },
  needs: { inputs: [0, 1] },
  flops: ([x]) => 8 * numel(x as Shape),
  reference: ([x, weight, bias], [shape], { eps }) => {
    const { R, C } = rowsAndColumns(shape as Shape);
    const y = new Float64Array(R * C);
    for (let r = 0; r < R; r++) {
      const row = (x as Float64Array).subarray(r * C, (r + 1) * C);
      const mean = row.reduce((a, b) => a + b, 0) / C;
      const rstd = 1 / Math.sqrt(row.reduce((a, b) => a + (b - mean) ** 2, 0) / C + eps);
      for (let c = 0; c < C; c++) y[r * C + c] = (row[c]! - mean) * rstd * weight![c]! + bias![c]!;
    }
    return y;
  },
  samples: [
    [1, 2],
    [3, 7],
    [2, 257],
    [5, 8],
    [65, 12],
    [3, 64],
    [17, 192],
    [2, 1031],
    [130, 4],
  ].map(([R, C]) => ({ inputs: [[R!, C!], [C!], [C!]], attrs: { eps: 1e-6 } })),
  bench: [{ inputs: [[64, 65, 192], [192], [192]], attrs: { eps: 1e-6 } }],
  errors: [
    { shapes: [[2, 5], [4], [5]], attrs: { eps: 1e-6 }, says: /\[layer_norm\] weight \(4,\).*x \(2, 5\)/ },
  ],
});

/** Layer normalisation over the last axis (torch.nn.functional.layer_norm): x (…, C), weight and bias (C). */
export const layerNorm = (x: Tensor, weight: Tensor, bias: Tensor, eps = 1e-6): Tensor =>
  apply(layerNormOp, [x, weight, bias], { eps });
