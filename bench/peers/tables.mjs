// The tables and lines of the result.
import { median } from './timing.mjs';

/** The median of the rounds that count; NaN if none does. */
export const finiteMedian = (values) => median(values.filter(Number.isFinite));

/** Three digits, or all before the point. */
export const digits = (value) =>
  Number.isFinite(value) ? (value >= 100 ? value.toFixed(0) : value.toPrecision(3)) : '-';

/** A table in Markdown. */
export function table(head, rows) {
  const widths = head.map((_, c) => Math.max(...[head, ...rows].map((row) => row[c].length), 3));
  const pad = (cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c]));
  const rule = widths.map((width, c) => (c === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`));
  return [head.map(pad), ...rows.map((row) => row.map(pad))]
    .map((row) => `| ${row.join(' | ')} |`)
    .toSpliced(1, 0, `|${rule.join('|')}|`)
    .join('\n');
}

const range = (values) => {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(1));
  return least === most ? `load ${least}` : `load ${least} to ${most}`;
};

/** The load averages of a contestant's rounds as text; empty where this system has none. */
export const loadRange = (results) => {
  const all = results.flatMap(({ averages }) => averages ?? []);
  return all.length > 0 ? range(all) : '';
};

/** What the host can do at most, or why that is unknown. */
export const peakLine = ({ fused, apart, reason }) =>
  reason
    ? `This host's peak is unknown: ${reason}.`
    : `This host's peak: ${digits(fused)} GFLOP/s fused, ${digits(apart)} with multiply and add apart.`;
