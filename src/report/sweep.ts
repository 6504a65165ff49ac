/** A sweep as a table and as a page: accuracy against parameters, operations and time. */
import { type Cell, table } from '../core/table.js';
import {
  type ConfigurationRow,
  isRepeated,
  type Spread,
  summarise,
  unequalSeeds,
} from '../sweeps/summary.js';
import type { SweepRow } from '../sweeps/table.js';
import { Html, html } from './html.js';
import { style } from './style.js';
import { pflop } from './sweep_plan.js';
import { labelsOf, type Plotted, sweepPlots } from './sweep_plots.js';

const percent = (fraction: number | null): string =>
  fraction === null ? '-' : `${(100 * fraction).toFixed(2)} %`;
const count = (n: number): string => n.toLocaleString('en-US');

/** `93.51 ± 0.12 %`, or `93.51 %` of a single seed. */
const spread = (value: Spread | null): string =>
  value?.deviation == null
    ? percent(value?.mean ?? null)
    : `${(100 * value.mean).toFixed(2)} ± ${(100 * value.deviation).toFixed(2)} %`;

/** FLOPs of seeds differ only if something else than --max-flops or --epochs ends the runs. */
const pflopSpread = (value: Spread | null): string =>
  value?.deviation ? `${pflop(value.mean)} ± ${pflop(value.deviation)}` : pflop(value?.mean ?? null);

type Columns<Row> = Readonly<Record<string, (row: Row) => Cell>>;

const RUN_COLUMNS: Columns<SweepRow> = {
  configuration: ({ name }) => name,
  status: ({ status }) => status,
  parameters: ({ parameters }) => count(parameters),
  'MFLOPs an image': ({ mflops }) => mflops.toFixed(1),
  'best accuracy': ({ best_accuracy }) => percent(best_accuracy),
  'last accuracy': ({ last_accuracy }) => percent(last_accuracy),
  'train loss': ({ train_loss }) => train_loss?.toFixed(4) ?? '-',
  epochs: ({ epochs }) => epochs,
  seconds: ({ seconds }) => seconds.toFixed(1),
  'images/s': ({ images_per_second }) => images_per_second?.toFixed(0) ?? '-',
};

const CONFIGURATION_COLUMNS: Columns<ConfigurationRow> = {
  configuration: ({ configuration }) => configuration,
  'seeds finished': ({ seeds, finished }) => `${finished} of ${seeds}`,
  parameters: ({ parameters }) => count(parameters),
  'MFLOPs an image': ({ mflops }) => mflops.toFixed(1),
  'best accuracy': ({ best_accuracy }) => spread(best_accuracy),
  'last accuracy': ({ last_accuracy }) => spread(last_accuracy),
};
const EMA_COLUMN: Columns<ConfigurationRow> = {
  'last EMA accuracy': ({ last_ema_accuracy }) => spread(last_ema_accuracy),
};
const REST_COLUMNS: Columns<ConfigurationRow> = {
  'train loss': ({ train_loss }) => train_loss?.mean.toFixed(4) ?? '-',
  seconds: ({ seconds }) => seconds?.mean.toFixed(1) ?? '-',
};

/** A sweep as its table, its plots, and what must be said about them. */
interface Comparison {
  readonly head: readonly string[];
  readonly cells: readonly (readonly Cell[])[];
  readonly plotted: readonly Plotted[];
  readonly meaning: string;
  /** Error messages of runs that failed, and numbers of seeds that are not equal. */
  readonly remarks: readonly string[];
}

/** A row for each run, or with several seeds or rungs a row for each configuration. */
const comparisonOf = (rows: readonly SweepRow[]): Comparison =>
  isRepeated(rows) ? ofConfigurations(rows) : ofRuns(rows);

function filled<Row>(columns: Columns<Row>, rows: readonly Row[]): Pick<Comparison, 'head' | 'cells'> {
  return {
    head: Object.keys(columns),
    cells: rows.map((row) => Object.values(columns).map((of) => of(row))),
  };
}

function ofRuns(rows: readonly SweepRow[]): Comparison {
  const counted = rows.some(({ flops }) => flops !== null);
  const columns = { ...RUN_COLUMNS, ...(counted ? { PFLOP: ({ flops }: SweepRow) => pflop(flops) } : {}) };
  return {
    ...filled(columns, rows),
    plotted: rows.map(({ best_accuracy, ...row }) => ({ ...row, accuracy: exactly(best_accuracy) })),
    meaning: counted ? `${MEANING} ${PFLOP_MEANING}` : MEANING,
    remarks: failures(rows),
  };
}

const exactly = (value: number | null): Spread | null =>
  value === null ? null : { mean: value, deviation: null };

function ofConfigurations(runs: readonly SweepRow[]): Comparison {
  const rows = summarise(runs);
  const rung = { rung: ({ rung }: ConfigurationRow) => rung ?? '-' };
  const columns = {
    ...(rows.some((row) => row.rung !== null) ? rung : {}),
    ...CONFIGURATION_COLUMNS,
    ...(rows.some(({ last_ema_accuracy }) => last_ema_accuracy !== null) ? EMA_COLUMN : {}),
    PFLOP: ({ flops }: ConfigurationRow) => pflopSpread(flops),
    ...REST_COLUMNS,
  };
  return {
    ...filled(columns, rows),
    plotted: rows.map(({ best_accuracy, seconds, flops, ...row }) => ({
      ...row,
      ...{ accuracy: best_accuracy, seconds: seconds?.mean ?? null, flops: flops?.mean ?? null },
    })),
    meaning: `${MEANING} ${PFLOP_MEANING} ${SEEDS_MEANING}`,
    remarks: [...unequalSeeds(rows), ...failures(runs)],
  };
}

/** The results of a sweep as a Markdown table, with a line for numbers of seeds that are not equal. */
export function sweepTable(rows: readonly SweepRow[]): string {
  const { head, cells } = comparisonOf(rows);
  const unequal = isRepeated(rows) ? unequalSeeds(summarise(rows)) : [];
  return [table(head, cells), ...unequal].join('\n\n');
}

/** The error messages of the runs that failed. */
const failures = (rows: readonly SweepRow[]): string[] =>
  rows.flatMap(({ name, error }) => (error === null ? [] : [`${name}: ${error}`]));

const MEANING =
  'Accuracy is measured on the test images, or on the images that --val-split holds out. The best accuracy is the highest of all ' +
  'epochs, of the weights or (with --ema-decay) of their EMA; best.safetensors holds those weights. The last accuracy is that of ' +
  'the weights at the last evaluation. MFLOPs count one forward pass; a multiply-add is two operations. Seconds count training only.';
const PFLOP_MEANING = 'PFLOP are 1e15 floating-point operations, here of the whole training.';
const SEEDS_MEANING =
  'Figures are means over the finished seeds. After ± stands the standard deviation of a sample (n - 1).';

/** sweep.md: the table, error messages, and the meaning of the columns. */
export function sweepMarkdown(title: string, rows: readonly SweepRow[]): string {
  const { head, cells, remarks, meaning } = comparisonOf(rows);
  const list = remarks.map((sentence) => `- ${sentence}`);
  return `${[`# ${title}`, table(head, cells), ...(list.length > 0 ? [list.join('\n')] : []), meaning].join('\n\n')}\n`;
}

/** sweep.html: one file with the plots and the table, in light or dark mode as the reader's system. */
export async function sweepPage(title: string, rows: readonly SweepRow[]): Promise<string> {
  const { head, cells, plotted, remarks, meaning } = comparisonOf(rows);
  const labels = labelsOf(plotted);
  const plots = await sweepPlots(plotted, labels);
  const line = (tag: 'th' | 'td', texts: readonly Cell[]) =>
    html`<tr>${texts.map((text) => (tag === 'th' ? html`<th>${text}</th>` : html`<td>${text}</td>`))}</tr>`;
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>${title}</title><style>${new Html(style + SWEEP_STYLE)}</style></head><body><main>
<header><p class="over">Patchlight sweep</p><h1>${title}</h1>
<p class="sub">Best accuracy of each configuration against its parameters, operations and training time. Points are labelled with ${labels.about}.</p></header>
<div class="panels">${plots.map((plot) => html`<figure>${plot}</figure>`)}</div>
<div class="runs"><table><thead>${line('th', ['', ...head])}</thead>
<tbody>${cells.map((row, i) => line('td', [i + 1, ...row]))}</tbody></table></div>
${remarks.map((sentence) => html`<p>${sentence}</p>`)}
<p class="about">${meaning}</p>
</main></body></html>
`;
  return page.text;
}

/** The styles of a sweep's page in addition to those of a report. */
const SWEEP_STYLE = `
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 24px; }
.runs { overflow-x: auto; margin: 32px 0 16px; }
.runs table { border-collapse: collapse; font-size: 14.5px; white-space: nowrap; }
.runs th, .runs td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); text-align: right; }
.runs th { color: var(--muted); font-weight: 400; }
.runs :is(th, td):nth-child(2), .runs :is(th, td):nth-child(3) { text-align: left; }
`;
