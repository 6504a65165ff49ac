/** A sweep before it runs: the sizes of its models, and what its runs may cost. */
import { table } from '../core/table.js';
import { type Cost, costOf } from '../sweeps/budget.js';
import type { Stage } from '../sweeps/rungs.js';

/** Floating-point operations in units of 1e15, with three digits; a dash for null. */
export const pflop = (flops: number | null): string =>
  flops === null ? '-' : `${Number((flops / 1e15).toPrecision(3))}`;

/**
 * The configurations of a sweep with the sizes of their models; with several seeds, rungs or --max-flops also the numbers of runs
 * and the most that they cost.
 */
export function planText(stages: readonly Stage[]): string {
  const costs = stages.map(costOf);
  const plain = stages.length === 1 && stages[0]?.rung === null && stages[0].seeds === 1;
  const parts = [configurationTable(stages[0] as Stage)];
  if (!plain || costs[0]?.flops !== null) parts.push(costTable(stages, costs));
  return parts.join('\n\n');
}

function configurationTable({ runs, configurations }: Stage): string {
  const rows = runs.slice(0, configurations).map(({ configuration, parameters, mflops }) => {
    return [configuration, parameters.toLocaleString('en-US'), mflops.toFixed(1)];
  });
  return table(['configuration', 'parameters', 'MFLOPs an image'], rows);
}

function costTable(stages: readonly Stage[], costs: readonly Cost[]): string {
  const rows = stages.map(({ rung, configurations, seeds }, i) => {
    const { runs, flops } = costs[i] as Cost;
    return [rung ? `${rung.number}: ${rung.text}` : 'all', configurations, seeds, runs, pflop(flops)];
  });
  const flops = costs.map((cost) => cost.flops);
  const total = [
    'together',
    '-',
    '-',
    costs.reduce((sum, { runs }) => sum + runs, 0),
    pflop(flops.every((known) => known !== null) ? flops.reduce((sum, known) => sum + known, 0) : null),
  ];
  const head = [stages[0]?.rung ? 'rung' : 'runs', 'configurations', 'seeds', 'runs', 'PFLOP at most'];
  return table(head, stages.length > 1 ? [...rows, total] : rows);
}
