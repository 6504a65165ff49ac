/** Learned temperatures of attention (Lee, Lee and Song, 2021: locality self-attention), as a factor of the queries. */
import backwardSource from '../../kernels/attention/scale_queries_backward.wgsl';
import forwardSource from '../../kernels/attention/scale_queries_forward.wgsl';
import { apply, defineOp } from '../autograd/op.js';
import { formatShape, lastAxis, need, numel, rowsOf } from '../core/shape.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';
import { columnSum } from './column_sum.js';
import { groupsFor, ROW_WG } from './common.js';

const forwardKernel = defineKernel('scale_queries_forward', forwardSource);
const backwardKernel = defineKernel('scale_queries_backward', backwardSource);

function sizesOf(qkv: readonly number[], heads: number) {
  const width = lastAxis(qkv) / 3;
  const head = width / heads;
  return { rows: rowsOf(qkv), width, head, root: Math.sqrt(head) };
}

/** y (+)= x with its queries times √head_dim · temperature. */
function scaleInto(x: Tensor, temperature: Tensor, y: Tensor, accumulate: boolean): void {
  const params = sizesOf(x.shape, temperature.size);
  const options = { tune: { Element: x.bits }, overrides: { ACCUMULATE: accumulate } };
  x.gpu.run(forwardKernel, { x, temperature, y }, params, params.rows, options);
}

const row = ([B, N]: readonly [number, number], heads: number, head: number) => ({
  inputs: { qkv: [B, N, 3 * heads * head], temperature: [heads] },
});

export const scaleQueriesOp = defineOp({
  name: 'scale_queries',
  inputs: ['qkv', 'temperature'],
  formula:
    'qkv with √head_dim · temperature[h] times the queries of head h,   qkv (B, N, 3·H·head_dim), temperature (H)',
  shape: ({ qkv, temperature }) => {
    need(
      temperature.length === 1 && lastAxis(qkv) % (3 * temperature[0]!) === 0,
      'scale_queries',
      `the last axis of qkv ${formatShape(qkv)} must divide by 3 times the heads of temperature ${formatShape(temperature)}.`,
    );
    return qkv;
  },
  dtype: ({ qkv }) => qkv.dtype,
  halves: ['qkv'],
  forward: ({ qkv, temperature }, y) => scaleInto(qkv, temperature, y, false),
  backward: ({ inputs: { qkv, temperature }, dy, wanted }) => {
    const dqkv = wanted('qkv');
    if (dqkv) scaleInto(dy, temperature, dqkv.tensor, dqkv.accumulate);
    const dtemperature = wanted('temperature');
    if (!dtemperature) return;
    const H = temperature.size;
    const { rows, head, root } = sizesOf(qkv.shape, H);
    const products = Tensor.empty(qkv.gpu, [rows, H], 'f32', 'scale_queries.products');
    const options = { tune: { Element: qkv.bits } };
    const groups = groupsFor(rows * H, ROW_WG);
    qkv.gpu.run(backwardKernel, { x: qkv, dy, products }, { rows, H, head, root }, groups, options);
    const { tensor, accumulate } = dtemperature;
    columnSum(products, tensor, { rows, columns: H, accumulate });
  },
  needs: { inputs: ['qkv', 'temperature'] },
  flops: ({ qkv }) => numel(qkv) / 3,
  reference: ({ qkv, temperature }, shapes) => {
    const { width, head, root } = sizesOf(shapes.qkv, temperature.length);
    return qkv.map((v, i) => {
      const c = i % (3 * width);
      return c < width ? v * root * temperature[Math.floor(c / head)]! : v;
    });
  },
  samples: [row([1, 1], 1, 1), row([2, 3], 2, 7), row([3, 5], 3, 8), row([2, 65], 2, 16), row([67, 2], 5, 3)],
  bench: [row([64, 65], 3, 64)],
  errors: [
    {
      shapes: { qkv: [2, 3, 12], temperature: [3] },
      says: /\[scale_queries\] the last axis of qkv \(2, 3, 12\) .* temperature \(3,\)/,
    },
  ],
});

/**
 * qkv (B, N, 3·H·head_dim) with the queries of each head times √head_dim · temperature (H). Attention divides scores by
 * √head_dim, so the temperature is what stands in its place.
 */
export const scaleQueries = (qkv: Tensor, temperature: Tensor): Tensor =>
  apply(scaleQueriesOp, { qkv, temperature });
