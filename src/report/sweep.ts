/** A sweep as a table and as a page: accuracy against what it costs in parameters, operations and time. */
import type { TopLevelSpec } from 'vega-lite';
import { type Cell, table } from '../core/table.js';
import { snake } from '../train/configurations.js';
import { settingsTable } from '../train/settings.js';
import type { PlannedRun, SweepRow } from '../train/sweep.js';
import { plotSvg } from './plot.js';

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

export const planTable = (plan: readonly PlannedRun[]): string =>
  table(
    ['configuration', 'parameters', 'MFLOPs an image'],
    plan.map(({ name, parameters, mflops }) => [name, count(parameters), mflops.toFixed(1)]),
  );

export const sweepTable = (rows: readonly SweepRow[]): string => table(HEAD, rows.map(cells));

/** The sentences of the runs that failed. */
const failures = (rows: readonly SweepRow[]): string[] =>
  rows.flatMap(({ name, error }) => (error === null ? [] : [`${name}: ${error}`]));

const MEANING =
  'Accuracy is that on the test images, or on those of --val-split. MFLOPs are of one forward pass, a multiply-add being two ' +
  'operations. Seconds are of training, without evaluation.';

export function sweepMarkdown(title: string, rows: readonly SweepRow[]): string {
  const list = failures(rows).map((sentence) => `- ${sentence}`);
  return `${[`# ${title}`, sweepTable(rows), ...(list.length > 0 ? [list.join('\n')] : []), MEANING].join('\n\n')}\n`;
}

/** One page, nothing outside of it: the plots, then the table. Light or dark as the reader's system is. */
export async function sweepPage(title: string, rows: readonly SweepRow[]): Promise<string> {
  const labels = labelsOf(rows);
  const points = pointsOf(rows, labels);
  const plots = points.length > 0 ? await Promise.all(panels(points).map(plotSvg)) : [];
  const line = (tag: string, texts: readonly Cell[]) =>
    `<tr>${texts.map((text) => `<${tag}>${escaped(String(text))}</${tag}>`).join('')}</tr>`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
<p>Best accuracy of each configuration against what it costs. Points are labelled with ${escaped(labels.about)}.</p>
<div class="plots">
${plots.map((svg) => `<figure>${svg}</figure>`).join('\n')}
</div>
<div class="table"><table>
<thead>${line('th', ['', ...HEAD])}</thead>
<tbody>
${rows.map((row, i) => line('td', [i + 1, ...cells(row)])).join('\n')}
</tbody>
</table></div>
${failures(rows)
  .map((sentence) => `<p class="failed">${escaped(sentence)}</p>`)
  .join('\n')}
<p>${escaped(MEANING)}</p>
</body>
</html>
`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (text: string): string => text.replace(/[&<>"]/g, (c) => ENTITIES[c] as string);

interface Point {
  readonly label: string;
  /** Percent. */
  readonly accuracy: number;
  readonly parameters: number;
  readonly mflops: number;
  readonly seconds: number;
}

interface Labels {
  /** What they are. */
  readonly about: string;
  readonly texts: readonly string[];
}

// Longer ones would lie over each other.
const LONGEST_LABEL = 9;

/** The values of the one setting that all configurations name, where they are short; else each row's number. */
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

/** Costs that span most of a decade or more are told apart by their ratios. */
function costScale(costs: readonly number[]): Scale {
  const [low, high] = [Math.min(...costs), Math.max(...costs)];
  if (low <= 0 || high < 8 * low) return { domain: roomy(costs), nice: false };
  return { type: 'log', domain: [low / 1.5, high * 1.5], nice: false };
}

/** Around the values, with room for the labels: a sixth of their range on either side, or of the value itself. */
function roomy(values: readonly number[]): [number, number] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || Math.abs(high) || 1) / 6;
  return [Math.max(0, low - room), high + room];
}

type Scale = { type?: 'log'; domain: [number, number]; nice: false };

const STYLE = `
:root { color-scheme: light dark; --bg: #fff; --fg: #1c2024; --muted: #5c646d; --line: #dde1e6;
  --series1: #2563c9; --series2: #c2410c; --series3: #15803d; --series4: #7e3ac0; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #14171a; --fg: #e6e9ec; --muted: #9aa3ad; --line: #30363d;
    --series1: #7aa8f5; --series2: #f0935e; --series3: #5fc487; --series4: #c39af0; }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; background: var(--bg); color: var(--fg);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; font-weight: 600; margin: 0; overflow-wrap: anywhere; }
p { color: var(--muted); max-width: 46rem; margin: .5rem 0 1.5rem; }
.failed { color: var(--fg); margin: .5rem 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; }
svg { display: block; }
.table { overflow-x: auto; margin: 2rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--muted); font-weight: 400; }
th:nth-child(-n+3), td:nth-child(-n+3) { text-align: left; }
td:first-child { color: var(--muted); }
`;
