/**
 * Successive halving (Jamieson and Talwalkar, 2016): every configuration is trained with a small budget, the best are trained
 * anew with a larger one, and so on. A rung is one such round.
 */
import { ConfigError } from '../core/errors.js';
import type { Settings } from '../recipe/settings.js';
import { snake } from '../recipe/spelled.js';
import { type Configuration, parseValues } from './grid.js';
import type { PlannedRun } from './plan.js';
import type { SweepRow } from './table.js';

export interface Rung {
  /** Counted from 1. */
  readonly number: number;
  /** As it was typed. */
  readonly text: string;
  /** The settings of its runs, over those that all rungs share. */
  readonly settings: Partial<Settings>;
  readonly seeds: number;
  /** How many configurations the next rung trains; null in the last rung. */
  readonly keep: number | null;
}

/** The runs of a sweep, or those of one rung: every configuration that may be trained there. */
export interface Stage {
  readonly rung: Rung | null;
  /** Configurations that are trained: all, or as many as the rung before keeps. */
  readonly configurations: number;
  readonly seeds: number;
  readonly runs: readonly PlannedRun[];
}

/**
 * Parses `max_flops=5e12,keep=8` or `max_flops=1e13,seeds=3` for each rung. Throws a ConfigError unless every rung but the last
 * says how many configurations it keeps.
 */
export function parseRungs(texts: readonly string[]): Rung[] {
  const rungs = texts.map(parseRung);
  for (const { text, number, keep } of rungs) {
    const last = number === rungs.length;
    if (last && keep !== null)
      throw new ConfigError(
        `--rung ${text} is the last rung, so nothing comes after what it keeps. Leave out keep.`,
      );
    if (!last && keep === null)
      throw new ConfigError(
        `--rung ${text} does not say how many configurations the next rung trains. Add keep=N.`,
      );
  }
  return rungs;
}

function parseRung(text: string, i: number): Rung {
  const where = `--rung ${text}`;
  const values = new Map<string, unknown>();
  for (const part of text.split(',')) {
    const [, spelled = '', value = ''] = /^([\w-]+)=(.+)$/.exec(part) ?? [];
    if (!spelled)
      throw new ConfigError(
        `${where} must be settings and their values, and keep or seeds, such as max_flops=5e12,keep=8.`,
      );
    const counted = spelled === 'keep' || spelled === 'seeds';
    const name = counted ? spelled : parseValues(part, where).name;
    if (values.has(name)) throw new ConfigError(`${where}: ${spelled} is given twice.`);
    values.set(name, counted ? countOf(value, spelled, where) : parseValues(part, where).values[0]);
  }
  const { keep = null, seeds = 1, ...settings } = Object.fromEntries(values);
  return { number: i + 1, text, settings, seeds: seeds as number, keep: keep as number | null };
}

function countOf(text: string, name: string, where: string): number {
  if (/^[1-9]\d{0,5}$/.test(text)) return Number(text);
  throw new ConfigError(`${where}: ${name} must be a whole number from 1 to 999999, not "${text}".`);
}

/**
 * Throws a ConfigError if a rung keeps more configurations than it trains, or if a configuration has a value of its own for a
 * setting of a rung.
 */
export function checkRungs(rungs: readonly Rung[], configurations: readonly Configuration[]): void {
  for (const [i, { text, keep, settings }] of rungs.entries()) {
    const trained = rungs[i - 1]?.keep ?? configurations.length;
    if (keep !== null && keep > trained)
      throw new ConfigError(
        `--rung ${text} trains ${trained} configurations and cannot keep ${keep}. Use a smaller keep.`,
      );
    for (const name of Object.keys(settings)) {
      const own = configurations.find(({ changes }) => name in changes);
      if (own)
        throw new ConfigError(`--rung ${text} sets ${snake(name)}, and so does ${own.name}. Leave one out.`);
    }
  }
}

/** A run as one of a rung, in the rung's own folder. */
export const onRung = (run: PlannedRun, rung: number): PlannedRun => ({
  ...run,
  name: `rung-${rung}/${run.name}`,
  rung,
});

/**
 * The `keep` best of `configurations`, in their order, from the rows of a rung. A configuration is ranked by its accuracy at
 * the last evaluation, of the weights or of their EMA, whichever is better: the mean over its seeds. The earlier of two
 * equal ones is kept. A configuration with an unfinished run is never kept.
 */
export function keepBest(
  rows: readonly SweepRow[],
  configurations: readonly string[],
  keep: number,
): string[] {
  const ranked = configurations.flatMap((name) => {
    const accuracy = rankedBy(rows.filter(({ configuration }) => configuration === name));
    return accuracy === null ? [] : [{ name, accuracy }];
  });
  const best = new Set(
    ranked
      .toSorted((a, b) => b.accuracy - a.accuracy)
      .slice(0, keep)
      .map(({ name }) => name),
  );
  return configurations.filter((name) => best.has(name));
}

/** The mean over the runs of one configuration; null if one is not finished. */
function rankedBy(runs: readonly SweepRow[]): number | null {
  const accuracies = runs.map(({ status, last_accuracy, last_ema_accuracy }) =>
    status === 'finished' && last_accuracy !== null ? Math.max(last_accuracy, last_ema_accuracy ?? 0) : null,
  );
  const known = accuracies.filter((accuracy) => accuracy !== null);
  if (known.length === 0 || known.length < runs.length) return null;
  return known.reduce((sum, accuracy) => sum + accuracy, 0) / known.length;
}
