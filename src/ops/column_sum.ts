/** Sums over rows: gradients of biases, positions and tokens. Two stages in a fixed order, so bit-reproducible. */
import source from '../../kernels/reduce/column_sum_reduce.wgsl';
import type { Gpu } from '../gpu/gpu.js';
import { defineKernel } from '../gpu/pipeline.js';
import { Tensor } from '../tensor/tensor.js';

const kernel = defineKernel('column_sum_reduce', source);
const WG = 64;
const ROWS_AT_ONCE = 32;

export interface ColumnSum {
  readonly rows: number;
  readonly columns: number;
  /** Floats from one row to the next; `columns` when absent. */
  readonly stride?: number;
  /** Floats before the first row. */
  readonly offset?: number;
  readonly scale?: number;
  readonly accumulate?: boolean;
}

/** Cuts rows into chunks for the first stage of a sum over rows. */
export function chunksOf({ info }: Gpu, rows: number): { chunks: number; chunk: number } {
  const chunk = Math.max(ROWS_AT_ONCE, Math.ceil(rows / info.knobs.columnChunks));
  return { chunks: Math.ceil(rows / chunk), chunk };
}

/** y[c] (+)= scale · Σ_r x[offset + r·stride + c]. */
export function columnSum(x: Tensor, y: Tensor, options: ColumnSum): void {
  const { rows, columns, stride = columns, offset = 0, scale = 1, accumulate = false } = options;
  const groups = Math.ceil(Math.ceil(columns / 4) / WG);
  const run = (from: Tensor, to: Tensor, stage: ColumnSum & { chunk: number; chunks: number }) =>
    x.gpu.run(
      kernel,
      { x: from, y: to },
      {
        rows: stage.rows,
        C: columns,
        stride: stage.stride as number,
        offset: stage.offset as number,
        chunk: stage.chunk,
        scale: stage.scale as number,
      },
      [groups, stage.chunks],
      { tune: { ElementX: from.bits }, overrides: { ACCUMULATE: stage.accumulate === true } },
    );
  const { chunks, chunk } = chunksOf(x.gpu, rows);
  if (chunks === 1) {
    run(x, y, { rows, columns, stride, offset, scale, accumulate, chunk: rows, chunks: 1 });
    return;
  }
  const padded = 4 * Math.ceil(columns / 4);
  const partial = Tensor.empty(x.gpu, [chunks, padded], 'f32', 'column_sum');
  run(x, partial, { rows, columns, stride, offset, scale, chunk, chunks });
  run(partial, y, {
    rows: chunks,
    columns,
    stride: padded,
    offset: 0,
    scale: 1,
    accumulate,
    chunk: chunks,
    chunks: 1,
  });
}
