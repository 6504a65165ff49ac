/** Several seeds of each configuration. */
import { ConfigError } from '../core/errors.js';
import type { PlannedRun } from './plan.js';

const LARGEST_SEED = 0xffffffff;

/**
 * Each run of the plan with its seed S, then each with S + 1, and so on: a sweep that is cut short has compared configurations
 * at the same seeds. The first run of a configuration keeps its name, so that more seeds can be added to a sweep that
 * had one; the others are called `NAME,seed=43`. Throws a ConfigError if a configuration sets the seed itself.
 */
export function inSeeds(plan: readonly PlannedRun[], seeds: number): PlannedRun[] {
  if (seeds === 1) return [...plan];
  for (const run of plan) demandSeeds(run, seeds);
  return Array.from({ length: seeds }, (_, i) => plan.map((run) => withSeed(run, i))).flat();
}

function demandSeeds({ configuration, changes, settings: { seed } }: PlannedRun, seeds: number): void {
  if ('seed' in changes)
    throw new ConfigError(
      `${configuration} sets the seed, and so do the ${seeds} seeds of each configuration. Leave one out.`,
    );
  if (seed + seeds - 1 > LARGEST_SEED)
    throw new ConfigError(`${seeds} seeds from ${seed} on exceed ${LARGEST_SEED}. Use a smaller --seed.`);
}

function withSeed(run: PlannedRun, more: number): PlannedRun {
  if (more === 0) return run;
  const seed = run.settings.seed + more;
  return { ...run, name: `${run.name},seed=${seed}`, settings: { ...run.settings, seed } };
}
