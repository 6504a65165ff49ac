/** The tables that the bench prints: of ops, and of training steps. */
import { table } from '../core/table.js';
import type { OpRow } from './ops.js';
import type { StepRow } from './step.js';

export const opTable = (rows: readonly OpRow[]): string =>
  table(
    ['op', 'shape', 'variant', 'ms', 'GFLOP/s', 'GB/s', '% of ceiling'],
    rows.map((row) => [row.op, row.shape, row.variant, row.ms, row.gflops, row.gbps, row.percent_of_ceiling]),
  );

const STEP_COLUMNS: readonly (readonly [string, Exclude<keyof StepRow, 'pipelines'>])[] = [
  ['model', 'model'],
  ['batch', 'batch_size'],
  ['ms', 'ms'],
  ['images/s', 'images_per_second'],
  ['GFLOP/s', 'gflops'],
  ['first ms', 'first_ms'],
  ['dispatches', 'dispatches'],
  ['submits', 'submits'],
  ['encode ms', 'encode_ms'],
  ['live MB', 'live_mb'],
  ['peak MB', 'peak_mb'],
  ['new buffers', 'created_buffers'],
  ['new bind groups', 'created_bind_groups'],
];

export const stepTable = (rows: readonly StepRow[]): string =>
  table(
    STEP_COLUMNS.map(([name]) => name),
    rows.map((row) => STEP_COLUMNS.map(([, field]) => row[field])),
  );
