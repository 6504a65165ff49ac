/** The plots of a sweep's page: accuracy against parameters, operations and time. */
import { settingsTable } from '../recipe/settings.js';
import { snake } from '../recipe/spelled.js';
import type { Spread } from '../sweeps/summary.js';
import type { SweepRow } from '../sweeps/table.js';
import type { Html } from './html.js';
import { plotSvg } from './plot.js';
import type { TopLevelSpec } from './vega.js';

/** The figures of a configuration that the plots show. */
export interface Plotted extends Pick<SweepRow, 'changes' | 'parameters' | 'mflops'> {
  /** The best accuracy, or its mean and standard deviation over the seeds; null if there is none yet. */
  readonly accuracy: Spread | null;
  /** Of training, or the mean over the seeds; null if unknown. */
  readonly seconds: number | null;
  readonly flops: number | null;
}

interface Point {
  readonly label: string;
  /** Percent; the ends of its error bar are equal if there is a single seed. */
  readonly accuracy: number;
  readonly low: number;
  readonly high: number;
  readonly parameters: number;
  readonly mflops: number;
  readonly seconds: number;
  readonly pflop: number | null;
}

export interface Labels {
  /** A description of the labels. */
  readonly about: string;
  readonly texts: readonly string[];
}

// Longer labels would overlap.
const LONGEST_LABEL = 9;

/** If all configurations change the same single setting, its values, unless they are long; otherwise each row's number. */
export function labelsOf(rows: readonly Plotted[]): Labels {
  const named = new Set(rows.map(({ changes }) => Object.keys(changes).join()));
  const values = rows.map(({ changes }) => Object.values(changes).join());
  const [setting = ''] = named;
  const short = Math.max(...values.map((value) => value.length)) <= LONGEST_LABEL;
  if (named.size === 1 && Object.hasOwn(settingsTable, setting) && short)
    return { about: snake(setting), texts: values };
  return { about: 'their number in the table', texts: rows.map((_, i) => `${i + 1}`) };
}

function pointsOf(rows: readonly Plotted[], labels: Labels): Point[] {
  return rows.flatMap(({ accuracy, parameters, mflops, seconds, flops }, i) => {
    if (accuracy === null) return [];
    const [mean, deviation] = [100 * accuracy.mean, 100 * (accuracy.deviation ?? 0)];
    const range = { accuracy: mean, low: mean - deviation, high: mean + deviation };
    const costs = { parameters, mflops, seconds: seconds ?? 0, pflop: flops === null ? null : flops / 1e15 };
    return [{ label: labels.texts[i] as string, ...range, ...costs }];
  });
}

/** A plot against each cost; none before the first result. */
export function sweepPlots(rows: readonly Plotted[], labels: Labels): Promise<Html[]> {
  const points = pointsOf(rows, labels);
  const costs: [keyof Point, string][] = [
    ['parameters', 'parameters'],
    ['mflops', 'MFLOPs an image'],
    ['seconds', 'seconds of training'],
  ];
  if (points.length === 0) return Promise.resolve([]);
  if (points.every(({ pflop }) => pflop !== null)) costs.push(['pflop', 'PFLOP of training']);
  return Promise.all(costs.map(([field, title]) => plotSvg(panel(points, field, title))));
}

/** One standard deviation to each side. */
const errorBars = {
  mark: { type: 'rule', color: 'var(--series1)' },
  encoding: { y: { field: 'low', type: 'quantitative' }, y2: { field: 'high' } },
} as const;

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
        scale: { domain: roomy(points.flatMap(({ low, high }) => [low, high])), nice: false },
        axis: { ...axis, format: '~g' },
      },
    },
    layer: [
      ...(points.some(({ low, high }) => low < high) ? [errorBars] : []),
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
