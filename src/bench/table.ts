/** Rows as tables: aligned for a terminal, which is Markdown as well. */
import type { OpRow } from './ops.js';
import type { StepRow } from './step.js';

type Cell = string | number;

/** Three digits that mean something. */
function formatted(cell: Cell): string {
  if (typeof cell === 'string') return cell;
  if (Number.isInteger(cell)) return `${cell}`;
  return Math.abs(cell) >= 100 ? cell.toFixed(0) : cell.toPrecision(3).replace(/e[-+].*/, '');
}

/** Numbers to the right, words to the left. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(formatted));
  const widths = head.map((_, c) => Math.max(3, ...cells.map((row) => (row[c] as string).length)));
  const right = head.map((_, c) => rows.length > 0 && rows.every((row) => typeof row[c] === 'number'));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, c) => (right[c] ? cell.padStart(widths[c] as number) : cell.padEnd(widths[c] as number))).join(' | ')} |`;
  const rule = `|${widths.map((width, c) => (right[c] ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [line(cells[0] as string[]), rule, ...cells.slice(1).map(line)].join('\n');
}

export const opTable = (rows: readonly OpRow[]): string =>
  table(
    ['op', 'shape', 'variant', 'ms', 'GFLOP/s', 'GB/s', '% of ceiling'],
    rows.map((row) => [row.op, row.shape, row.variant, row.ms, row.gflops, row.gbps, row.percent_of_ceiling]),
  );

const STEP_COLUMNS: readonly (readonly [string, keyof StepRow])[] = [
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
