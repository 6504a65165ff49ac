/** The results of checks in a few lines: a row for each op and kernel variant, and what was left out and why. */
import type { Row } from './tasks.js';

/** All checks of an op by one kernel variant. */
export interface SummaryRow {
  readonly op: string;
  readonly variant: string;
  readonly samples: number;
  readonly wrong: number;
  /** The largest error of a forward pass, over what rounding allows. */
  readonly worst: number;
}

/** The checks by op and variant, in their order. */
export function summarise(rows: readonly Row[]): SummaryRow[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const key = `${row.op}\n${row.variant}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()].map((all) => ({
    op: all[0]!.op,
    variant: all[0]!.variant,
    samples: all.length,
    wrong: all.filter(({ problems }) => problems.length > 0).length,
    worst: Math.max(...all.map(({ worst }) => worst)),
  }));
}

/** A check that was not run. */
export interface LeftOut {
  readonly op: string;
  readonly shape: string;
  readonly reason: string;
}

/** A line for each reason, such as `30 left out: no shader-f16 (10 of gelu, 20 of linear)`. */
export function leftOutSentences(leftOut: readonly LeftOut[]): string[] {
  return [...new Set(leftOut.map(({ reason }) => reason))].map((reason) => {
    const all = leftOut.filter((it) => it.reason === reason);
    const names = [...new Set(all.map(({ op }) => op))];
    const counts = names.map((name) => `${all.filter(({ op }) => op === name).length} of ${name}`);
    return `${all.length} left out: ${reason} (${counts.join(', ')})`;
  });
}
