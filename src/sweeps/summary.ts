/** The runs of a configuration as one row: mean and standard deviation over its finished seeds. */
import type { SweepRow } from './table.js';

export interface Spread {
  readonly mean: number;
  /** Of a sample, divided by n - 1; null for a single value. */
  readonly deviation: number | null;
}

/** Mean and standard deviation of values; null if there are none. */
export function spreadOf(values: readonly number[]): Spread | null {
  const n = values.length;
  if (n === 0) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: n > 1 ? Math.sqrt(squares / (n - 1)) : null };
}

/** A configuration in its rung. All figures are of its finished runs. */
export interface ConfigurationRow
  extends Pick<SweepRow, 'configuration' | 'rung' | 'changes' | 'parameters' | 'mflops'> {
  /** Its runs, of a seed each, and how many of them are finished. */
  readonly seeds: number;
  readonly finished: number;
  readonly best_accuracy: Spread | null;
  readonly last_accuracy: Spread | null;
  /** Null if a finished run has no EMA. */
  readonly last_ema_accuracy: Spread | null;
  /** Null if a finished run did not count its floating-point operations. */
  readonly flops: Spread | null;
  readonly train_loss: Spread | null;
  readonly seconds: Spread | null;
}

const FIGURES = [
  'best_accuracy',
  'last_accuracy',
  'last_ema_accuracy',
  'flops',
  'train_loss',
  'seconds',
] as const;

/** True if a row for each run is not enough: a configuration has several seeds, or there are rungs. */
export const isRepeated = (rows: readonly SweepRow[]): boolean =>
  rows.some(({ name, configuration, rung }) => rung !== null || name !== configuration);

/** The rows of each configuration in each rung, in the order of their first ones. */
function grouped(rows: readonly SweepRow[]): SweepRow[][] {
  const groups = new Map<string, SweepRow[]>();
  for (const row of rows) {
    const key = `${row.rung}\n${row.configuration}`;
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return [...groups.values()];
}

/** A row for each configuration, in each rung. */
export const summarise = (rows: readonly SweepRow[]): ConfigurationRow[] => grouped(rows).map(summaryOf);

function summaryOf(runs: readonly SweepRow[]): ConfigurationRow {
  const { configuration, rung, changes, parameters, mflops } = runs[0] as SweepRow;
  const finished = runs.filter(({ status }) => status === 'finished');
  const figures = FIGURES.map((name) => {
    const values = finished.map((run) => run[name]).filter((value) => value !== null);
    return [name, values.length < finished.length ? null : spreadOf(values)] as const;
  });
  return {
    ...{ configuration, rung, changes, parameters, mflops },
    ...{ seeds: runs.length, finished: finished.length },
    ...(Object.fromEntries(figures) as Record<(typeof FIGURES)[number], Spread | null>),
  };
}

/** A sentence for each rung whose configurations have not all finished the same number of seeds. */
export function unequalSeeds(rows: readonly ConfigurationRow[]): string[] {
  const rungs = [...new Set(rows.map(({ rung }) => rung))];
  return rungs.flatMap((rung) => {
    const here = rows.filter((row) => row.rung === rung);
    const counts = [...new Set(here.map(({ finished }) => finished))].sort((a, b) => b - a);
    if (counts.length === 1) return [];
    const texts = counts.map((count) => {
      const names = here.filter(({ finished }) => finished === count).map((row) => row.configuration);
      return `${count} (${names.join('; ')})`;
    });
    const where = rung === null ? '' : ` in rung ${rung}`;
    return [`The configurations${where} have unequal numbers of finished seeds: ${texts.join(', ')}.`];
  });
}
