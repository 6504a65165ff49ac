/** A sweep as a table and as a page: accuracy against parameters, operations and time. */
import type { TopLevelSpec } from 'vega-lite';
import { type Cell, table } from '../core/table.js';
import { settingsTable } from '../recipe/settings.js';
import { snake } from '../recipe/spelled.js';
import type { PlannedRun } from '../sweeps/plan.js';
import type { SweepRow } from '../sweeps/table.js';
import { Html, html } from './html.js';
import { plotSvg } from './plot.js';
import { style } from './style.js';

const percent = (fraction: number | null): string =>
  fraction === null ? '-' : `${(100 * fraction).toFixed(2)} %`;
const count = (n: number): string => n.toLocaleString('en-US');

const COLUMNS: Readonly<Record<string, (row: SweepRow) => Cell>> = {
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

const HEAD = Object.keys(COLUMNS);
const cells = (row: SweepRow): Cell[] => Object.values(COLUMNS).map((of) => of(row));

/** The configurations of a sweep with the sizes of their models. */
export const planTable = (plan: readonly PlannedRun[]): string =>
  table(
    ['configuration', 'parameters', 'MFLOPs an image'],
    plan.map(({ name, parameters, mflops }) => [name, count(parameters), mflops.toFixed(1)]),
  );

/** The results of a sweep as a Markdown table. */
export const sweepTable = (rows: readonly SweepRow[]): string => table(HEAD, rows.map(cells));

/** The error messages of the runs that failed. */
const failures = (rows: readonly SweepRow[]): string[] =>
  rows.flatMap(({ name, error }) => (error === null ? [] : [`${name}: ${error}`]));

const MEANING =
  'Accuracy is measured on the test images, or on the images that --val-split holds out. The best accuracy is the highest of all ' +
  'epochs, of the weights or (with --ema-decay) of their EMA; best.safetensors holds those weights. The last accuracy is that of ' +
  'the weights at the last evaluation. MFLOPs count one forward pass; a multiply-add is two operations. Seconds count training only.';

/** sweep.md: the table, error messages, and the meaning of the columns. */
export function sweepMarkdown(title: string, rows: readonly SweepRow[]): string {
  const list = failures(rows).map((sentence) => `- ${sentence}`);
  return `${[`# ${title}`, sweepTable(rows), ...(list.length > 0 ? [list.join('\n')] : []), MEANING].join('\n\n')}\n`;
}

/** sweep.html: one file with the plots and the table, in light or dark mode as the reader's system. */
export async function sweepPage(title: string, rows: readonly SweepRow[]): Promise<string> {
  const labels = labelsOf(rows);
  const points = pointsOf(rows, labels);
  const plots = points.length > 0 ? await Promise.all(panels(points).map(plotSvg)) : [];
  const line = (tag: 'th' | 'td', texts: readonly Cell[]) =>
    html`<tr>${texts.map((text) => (tag === 'th' ? html`<th>${text}</th>` : html`<td>${text}</td>`))}</tr>`;
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><title>${title}</title><style>${new Html(style + SWEEP_STYLE)}</style></head><body><main>
<header><p class="over">Patchlight sweep</p><h1>${title}</h1>
<p class="sub">Best accuracy of each configuration against its parameters, operations and training time. Points are labelled with ${labels.about}.</p></header>
<div class="panels">${plots.map((plot) => html`<figure>${plot}</figure>`)}</div>
<div class="runs"><table><thead>${line('th', ['', ...HEAD])}</thead>
<tbody>${rows.map((row, i) => line('td', [i + 1, ...cells(row)]))}</tbody></table></div>
${failures(rows).map((sentence) => html`<p>${sentence}</p>`)}
<p class="about">${MEANING}</p>
</main></body></html>
`;
  return page.text;
}

interface Point {
  readonly label: string;
  /** Percent. */
  readonly accuracy: number;
  readonly parameters: number;
  readonly mflops: number;
  readonly seconds: number;
}

interface Labels {
  /** A description of the labels. */
  readonly about: string;
  readonly texts: readonly string[];
}

// Longer labels would overlap.
const LONGEST_LABEL = 9;

/** If all configurations change the same single setting, its values, unless they are long; otherwise each row's number. */
function labelsOf(rows: readonly SweepRow[]): Labels {
  const named = new Set(rows.map(({ changes }) => Object.keys(changes).join()));
  const values = rows.map(({ changes }) => Object.values(changes).join());
  const [setting = ''] = named;
  const short = Math.max(...values.map((value) => value.length)) <= LONGEST_LABEL;
  if (named.size === 1 && Object.hasOwn(settingsTable, setting) && short)
    return { about: snake(setting), texts: values };
  return { about: 'their number in the table', texts: rows.map((_, i) => `${i + 1}`) };
}

function pointsOf(rows: readonly SweepRow[], labels: Labels): Point[] {
  return rows.flatMap(({ best_accuracy, parameters, mflops, seconds }, i) => {
    if (best_accuracy === null) return [];
    return [{ label: labels.texts[i] as string, accuracy: 100 * best_accuracy, parameters, mflops, seconds }];
  });
}

function panels(points: readonly Point[]): TopLevelSpec[] {
  return [
    panel(points, 'parameters', 'parameters'),
    panel(points, 'mflops', 'MFLOPs an image'),
    panel(points, 'seconds', 'seconds of training'),
  ];
}

function panel(points: readonly Point[], field: keyof Point, title: string): TopLevelSpec {
  const axis = { labelFontSize: 12, titleFontSize: 13, tickCount: 5 };
  const costs = points.map((point) => point[field] as number);
  return {
    data: { values: points as unknown as Record<string, unknown>[] },
    width: 300,
    height: 230,
    encoding: {
      x: {
        field,
        type: 'quantitative',
        title,
        scale: costScale(costs),
        axis: { ...axis, format: '~s' },
      },
      y: {
        field: 'accuracy',
        type: 'quantitative',
        title: 'accuracy, %',
        scale: { domain: roomy(points.map(({ accuracy }) => accuracy)), nice: false },
        axis: { ...axis, format: '~g' },
      },
    },
    layer: [
      { mark: { type: 'point', filled: true, size: 70, opacity: 1, color: 'var(--series1)' } },
      {
        mark: { type: 'text', align: 'left', dx: 7, fontSize: 12, color: 'var(--fg)' },
        encoding: { text: { field: 'label', type: 'nominal' } },
      },
    ],
  };
}

/** A logarithmic axis if the largest cost is 8 times the smallest or more; otherwise a linear one. */
function costScale(costs: readonly number[]): Scale {
  const [low, high] = [Math.min(...costs), Math.max(...costs)];
  if (low <= 0 || high < 8 * low) return { domain: roomy(costs), nice: false };
  return { type: 'log', domain: [low / 1.5, high * 1.5], nice: false };
}

/** The range of an axis: the values' range plus a sixth of it on each side, as room for the labels. */
function roomy(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) / 6;
  return [Math.max(0, low - room), high + room];
}

type Scale = { type?: 'log'; domain: [number, number]; nice: false };

/** The styles of a sweep's page in addition to those of a report. */
const SWEEP_STYLE = `
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 24px; }
.runs { overflow-x: auto; margin: 32px 0 16px; }
.runs table { border-collapse: collapse; font-size: 14.5px; white-space: nowrap; }
.runs th, .runs td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); text-align: right; }
.runs th { color: var(--muted); font-weight: 400; }
.runs :is(th, td):nth-child(2), .runs :is(th, td):nth-child(3) { text-align: left; }
`;
