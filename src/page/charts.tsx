/** The two curves of a run: its loss, and its accuracy. Earlier runs stay beside them for comparison. */
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Curves } from './messages.js';
import { curves, past, run } from './state.js';

/** A curve: steps and values, and how it is drawn. */
interface Line {
  readonly name: string;
  readonly steps: readonly number[];
  readonly values: readonly (number | null)[];
  readonly colour: string;
  readonly dots?: boolean;
  readonly dash?: boolean;
}

/** Points of a mean that forgets, as torch's progress bars show it; the first ones are corrected for their small number. */
function smooth(values: readonly number[], keep = 0.9): number[] {
  let [sum, weight] = [0, 0];
  return values.map((value) => {
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return sum / weight;
  });
}

const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name);

const lossLine = ({ points }: Curves, name: string, hue: string, dash = false): Line => ({
  ...{ name, colour: hue, dash },
  steps: points.map(({ step }) => step),
  values: smooth(points.map(({ loss }) => loss)),
});

const testLine = ({ scores }: Curves, name: string, hue: string, dash = false): Line => ({
  ...{ name, colour: hue, dash, dots: true },
  steps: scores.map(({ step }) => step),
  values: scores.map(({ accuracy }) => 100 * accuracy),
});

interface ChartProps {
  readonly title: string;
  readonly said: string;
  readonly lines: readonly Line[];
  readonly range: (low: number, high: number) => [number, number];
  readonly steps: number;
}

function Chart({ title, said, lines, range, steps }: ChartProps) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shape = lines.map(({ name, colour, dots }) => `${name} ${colour} ${dots}`).join('|') + steps;
  const tables = lines.map(({ steps, values }) => [[...steps], [...values]] as uPlot.AlignedData);
  const data = tables.length > 0 ? uPlot.join(tables) : ([[]] as unknown as uPlot.AlignedData);
  useEffect(() => {
    const { current } = holder;
    if (!current) return;
    const axis = {
      stroke: colour('--muted'),
      grid: { stroke: colour('--line'), width: 1 },
      ticks: { show: false },
    };
    const size = () => ({ width: current.clientWidth, height: 150 });
    const made = new uPlot(
      {
        ...size(),
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: () => [0, Math.max(steps, 1)] },
          y: { range: (_, low, high) => range(low, high) },
        },
        axes: [
          { ...axis, size: 22, space: 70, font: '11px system-ui' },
          { ...axis, size: 34, font: '11px system-ui' },
        ],
        series: [
          {},
          ...lines.map(({ name, colour, dots, dash }) => ({
            ...{ label: name, stroke: colour, width: dash ? 1.5 : 2, spanGaps: true },
            points: { show: dots === true, size: 6, fill: colour },
            ...(dash && { dash: [4, 4] }),
          })),
        ],
      },
      data,
      current,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize(size()));
    observer.observe(current);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [shape]);
  useEffect(() => plot.current?.setData(data), [data]);
  return (
    <figure class="chart">
      <figcaption>
        <b>{title}</b> <span>{said}</span>
      </figcaption>
      <div ref={holder} role="img" aria-label={`${title}: ${said}`} />
    </figure>
  );
}

const PAST = ['--series2', '--series3', '--series4'];

/** Loss and accuracy over the steps of the run. */
export function Charts() {
  const now = curves.value;
  const steps = Math.max(
    run.value?.totalSteps ?? 1,
    ...past.value.map(({ points }) => points.at(-1)?.step ?? 0),
  );
  const earlier = past.value.map((each, i) => ({ ...each, hue: colour(PAST[i]!) }));
  const blue = colour('--series1');
  const losses = [
    lossLine(now, 'this run', blue),
    ...earlier.map((each) => lossLine(each, each.name, each.hue, true)),
  ];
  const training: Line = {
    name: 'training',
    colour: colour('--muted'),
    steps: now.points.map(({ step }) => step),
    values: now.points.map(({ accuracy }) => (accuracy === null ? null : 100 * accuracy)),
  };
  const accuracies = [
    training,
    testLine(now, 'test', blue),
    ...earlier.map((each) => testLine(each, each.name, each.hue, true)),
  ];
  const loss = losses[0]?.values.at(-1);
  const tested = now.scores.at(-1)?.accuracy;
  const trained = now.points.at(-1)?.accuracy;
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  return (
    <div class="charts">
      <Chart
        title="Loss"
        said={typeof loss === 'number' ? loss.toFixed(3) : 'how wrong the model is'}
        lines={losses}
        range={(_, high) => [0, Math.max(2.5, high ?? 0)]}
        {...{ steps }}
      />
      <Chart
        title="Accuracy"
        said={
          tested !== undefined
            ? `${percent(tested)} of the test images (dots)`
            : typeof trained === 'number'
              ? `${percent(trained)} of the training images so far`
              : 'how often the model is right'
        }
        lines={accuracies}
        range={() => [0, 100]}
        {...{ steps }}
      />
      {earlier.length > 0 && (
        <ul class="legend">
          <li style={{ '--hue': blue }}>this run</li>
          {earlier.map(({ name, hue }) => (
            <li key={name} style={{ '--hue': hue }}>
              {name}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
