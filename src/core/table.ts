/** Tables that are aligned for a terminal and are also valid Markdown. */
export type Cell = string | number;

/** Numbers with three significant digits. */
function formatted(cell: Cell): string {
  if (typeof cell === 'string') return cell;
  if (Number.isInteger(cell)) return `${cell}`;
  return Math.abs(cell) >= 100 ? cell.toFixed(0) : cell.toPrecision(3).replace(/e[-+].*/, '');
}

const NUMBER = /^(-|[\d.,]+( ± [\d.,]+)?( %)?)$/;

/** Numbers are aligned right, words left. A dash counts as a number: a value that is missing. */
export function table(head: readonly string[], rows: readonly (readonly Cell[])[]): string {
  const cells = [head, ...rows].map((row) => row.map(formatted));
  const widths = head.map((_, c) => Math.max(3, ...cells.map((row) => (row[c] as string).length)));
  const right = head.map(
    (_, c) => rows.length > 0 && cells.slice(1).every(({ [c]: cell }) => NUMBER.test(cell as string)),
  );
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, c) => (right[c] ? cell.padStart(widths[c] as number) : cell.padEnd(widths[c] as number))).join(' | ')} |`;
  const rule = `|${widths.map((width, c) => (right[c] ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`;
  return [line(cells[0] as string[]), rule, ...cells.slice(1).map(line)].join('\n');
}
