/** Training curves over epochs: loss, accuracy, learning rate, throughput. */
import type { EpochEntry, StepEntry } from '../training/progress.js';
import { count, figure, type Html, html, percent, section } from './html.js';
import { plotSvg } from './plot.js';
import type { RunFiles } from './run_files.js';
import type { TopLevelSpec } from './vega.js';

type LayerSpec = Extract<TopLevelSpec, { layer: unknown }>['layer'][number];

interface Point {
  readonly epoch: number;
  readonly value: number;
  readonly series: string;
}

interface Axis {
  readonly title: string;
  readonly format?: string;
  readonly zero?: boolean;
}

/** The most points of a step curve. More would make the page larger without a visible difference. */
const MOST_POINTS = 400;

/** The names of history.json's columns in the legends. */
const LOSSES = { val_loss: 'validation', ema_val_loss: 'validation, EMA' } as const;
const ACCURACIES = {
  train_accuracy: 'training',
  val_accuracy: 'validation',
  ema_val_accuracy: 'validation, EMA',
} as const;

/** Steps per epoch, estimated from the logged steps. The error is less than the log interval. */
function stepsPerEpoch(steps: readonly StepEntry[]): number {
  return steps.reduce((most, { step, epoch }) => Math.max(most, Math.ceil(step / epoch)), 1);
}

/** The points of one field of the logged steps. Neighbours are averaged if there are more than MOST_POINTS. */
function stepPoints(
  steps: readonly StepEntry[],
  series: string,
  field: 'loss' | 'lr' | 'images_per_second',
): Point[] {
  const perEpoch = stepsPerEpoch(steps);
  const span = Math.max(1, Math.ceil(steps.length / MOST_POINTS));
  return Array.from({ length: Math.ceil(steps.length / span) }, (_, i) => {
    const part = steps.slice(i * span, (i + 1) * span);
    const mean = (of: (entry: StepEntry) => number) =>
      part.reduce((sum, it) => sum + of(it), 0) / part.length;
    return { epoch: mean(({ step }) => step) / perEpoch, value: mean((entry) => entry[field]), series };
  });
}

/** The points of the history's columns, in the order of `names`. Epochs without a value are left out. */
function epochPoints(history: readonly EpochEntry[], names: Readonly<Record<string, string>>): Point[] {
  return Object.entries(names).flatMap(([column, series]) =>
    history.flatMap((entry) => {
      const value = (entry as unknown as Record<string, unknown>)[column];
      return typeof value === 'number' ? [{ epoch: entry.epoch, value, series }] : [];
    }),
  );
}

const order = (points: readonly Point[]): string[] => [...new Set(points.map(({ series }) => series))];

/** A plot. `lines` are thin; `dots` have a mark at every point unless there are many. */
async function curve(lines: readonly Point[], dots: readonly Point[], axis: Axis): Promise<Html> {
  const domain = order([...lines, ...dots]);
  const encoding = {
    x: { field: 'epoch', type: 'quantitative', title: 'epoch', axis: { grid: false, tickMinStep: 1 } },
    y: {
      field: 'value',
      type: 'quantitative',
      title: axis.title,
      scale: { zero: axis.zero ?? false, nice: true },
      axis: { tickCount: 5, ...(axis.format ? { format: axis.format } : {}) },
    },
    color: {
      field: 'series',
      type: 'nominal',
      scale: { domain },
      legend: domain.length > 1 ? { title: null, orient: 'top', symbolType: 'stroke' } : null,
    },
  } as const;
  // A line of a single point is invisible without a mark.
  const drawn = (values: readonly Point[], strokeWidth: number, mostMarks: number): LayerSpec => ({
    data: { values: [...values] },
    mark: {
      type: 'line',
      strokeWidth,
      point: values.length <= mostMarks ? { filled: true, size: 28 } : false,
    },
  });
  const layer = [
    ...(lines.length > 0 ? [drawn(lines, 1.25, 1)] : []),
    ...(dots.length > 0 ? [drawn(dots, 2, 120)] : []),
  ];
  return plotSvg({ width: 400, height: 220, encoding, layer });
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** The median of the logged throughput, in images per second; null if no step was logged. */
export const medianThroughput = (steps: readonly StepEntry[]): number | null =>
  steps.length > 0 ? median(steps.map((entry) => entry.images_per_second)) : null;

/**
 * The section of a report about training; null if nothing is logged. `validationName` is the set that is evaluated after an
 * epoch: `test`, or `validation`.
 */
export async function curvesSection(
  { steps, history }: RunFiles,
  validationName: string,
): Promise<Html | null> {
  if (steps.length + history.length === 0) return null;
  const named = <T extends Record<string, string>>(names: T) =>
    Object.fromEntries(Object.entries(names).map(([k, v]) => [k, v.replace('validation', validationName)]));
  const best = history.reduce<EpochEntry | null>(
    (top, entry) => ((entry.val_accuracy ?? -1) > (top?.val_accuracy ?? -1) ? entry : top),
    null,
  );
  const last = history.at(-1);
  const seconds = history.reduce((sum, entry) => sum + entry.seconds, 0);
  const figures: Html[] = [];
  const add = async (lines: readonly Point[], dots: readonly Point[], axis: Axis, caption: Html) => {
    if (lines.length + dots.length > 0) figures.push(figure(await curve(lines, dots, axis), caption));
  };
  await add(
    stepPoints(steps, 'training', 'loss'),
    epochPoints(history, named(LOSSES)),
    { title: 'loss, nats' },
    html`Cross-entropy. The training curve shows single batches, with the augmentation, dropout and label smoothing of the settings.`,
  );
  await add(
    [],
    epochPoints(history, named(ACCURACIES)),
    { title: 'accuracy', format: '.0%' },
    html`Top-1 accuracy. ${best ? `Highest on the ${validationName} images: ${percent(best.val_accuracy, 2)} after epoch ${best.epoch}.` : null}`,
  );
  await add(
    stepPoints(steps, 'learning rate', 'lr'),
    [],
    { title: 'learning rate', format: '~g', zero: true },
    html`Learning rate of each step.`,
  );
  const pace = medianThroughput(steps);
  await add(
    stepPoints(steps, 'images a second', 'images_per_second'),
    [],
    { title: 'images a second', format: '~s', zero: true },
    html`Training throughput. The median is ${count(pace ?? 0)} images a second; the first steps also compile kernels.`,
  );
  return section(
    'training',
    'Training',
    html`${count(history.length)} epochs in ${duration(seconds)}${last ? html`; the last one ended at a training loss of ${last.train_loss?.toFixed(3) ?? '-'}` : null}.`,
    html`<div class="plots">${figures}</div>`,
  );
}

function duration(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
