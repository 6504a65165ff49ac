// docs/speedrun.svg: accuracy against FLOPs for the record of each budget, on light and on dark backgrounds.

const [WIDTH, HEIGHT] = [760, 440];
const BOX = { left: 56, right: 16, top: 16, bottom: 52 };
const MOST_POINTS = 200; // of a curve
/** Colours on a light and on a dark background. */
const COLOURS = [
  ['#2f5fb3', '#7da7f0'],
  ['#d2622a', '#f0935e'],
  ['#2e8b6f', '#63c3a4'],
  ['#8a56a6', '#c193dc'],
  ['#a08219', '#d9bd55'],
  ['#b8406a', '#ee8fb0'],
];

const round = (value) => Number(value.toFixed(1));

/** The points of a record, [FLOPs, accuracy], as means over the seeds where these were evaluated at the same FLOPs. */
export function curveOf({ runs, raw, ema }) {
  const column = ema && ema.mean > raw.mean ? 2 : 1;
  const curves = runs.map(({ curve }) =>
    curve.filter((point) => point[0] > 0 && point[column] !== null).map((point) => [point[0], point[column]]),
  );
  const [first] = curves;
  const alike = curves.every(
    (curve) => curve.length === first.length && curve.every(([flops], i) => flops === first[i][0]),
  );
  const used = alike ? curves : [first];
  const points = first.map(([flops], i) => [
    flops,
    used.reduce((sum, curve) => sum + curve[i][1], 0) / used.length,
  ]);
  const every = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}

/** 1, 2 and 5 times the powers of ten from `low` to `high`. */
function ticksOf(low, high) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const factor of [1, 2, 5]) ticks.push(Number(`${factor}e${power}`));
  return ticks.filter((tick) => tick >= low && tick <= high);
}

const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function style(count) {
  const used = COLOURS.slice(0, count);
  const of = (theme) =>
    used.map((pair, i) => `.s${i}{stroke:${pair[theme]}}.d${i}{fill:${pair[theme]}}`).join('');
  return [
    'text{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:#1d1c1a}.tick{fill:#6d6962}',
    '.back{fill:#fdfcfa}.grid{stroke:#e2ddd3}.line{fill:none;stroke-width:2;stroke-linejoin:round}',
    of(0),
    '@media(prefers-color-scheme:dark){text{fill:#e9e7e2}.tick{fill:#9b978f}.back{fill:#141517}.grid{stroke:#33353a}',
    `${of(1)}}`,
  ].join('');
}

/** The plot of these records as a whole SVG file; null if none has a curve of two points. */
export function plot(records) {
  const series = records
    .map((record) => ({ record, points: curveOf(record) }))
    .filter(({ points }) => points.length > 1);
  if (series.length === 0) return null;
  const all = series.flatMap(({ points }) => points);
  const [low, high] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
  const least = Math.floor(10 * Math.min(...all.map(([, y]) => y))) * 10;
  const most = Math.max(least + 10, Math.ceil(20 * Math.max(...all.map(([, y]) => y))) * 5);
  const [right, bottom] = [WIDTH - BOX.right, HEIGHT - BOX.bottom];
  const x = (flops) => round(BOX.left + (Math.log(flops / low) / Math.log(high / low)) * (right - BOX.left));
  const y = (percent) => round(bottom - ((percent - least) / (most - least)) * (bottom - BOX.top));
  const step = most - least > 40 ? 10 : 5;
  const heights = Array.from({ length: Math.floor((most - least) / step) + 1 }, (_, i) => least + i * step);
  const horizontal = heights.flatMap((at) => [
    `<path class="grid" d="M${BOX.left} ${y(at)}H${right}"/>`,
    `<text class="tick" x="${BOX.left - 8}" y="${y(at) + 4}" text-anchor="end">${at}</text>`,
  ]);
  const vertical = ticksOf(low, high).flatMap((at) => [
    `<path class="grid" d="M${x(at)} ${BOX.top}V${bottom}"/>`,
    `<text class="tick" x="${x(at)}" y="${bottom + 18}" text-anchor="middle">${Number((at / 1e15).toPrecision(1))}</text>`,
  ]);
  const lines = series.flatMap(({ record, points }, i) => {
    const path = points.map(([flops, accuracy]) => `${x(flops)} ${y(100 * accuracy)}`).join('L');
    const dashes = record.marks.length > 0 ? ' stroke-dasharray="6 4"' : '';
    const [endX, endY] = points.at(-1);
    const colour = i % COLOURS.length;
    return [
      `<path class="line s${colour}" d="M${path}"${dashes}/>`,
      `<circle class="d${colour}" cx="${x(endX)}" cy="${y(100 * endY)}" r="4"/>`,
    ];
  });
  const legend = series.flatMap(({ record, points }, i) => {
    const at = bottom - 14 - 20 * (series.length - 1 - i);
    const marks = record.marks.length > 0 ? `, ${record.marks.join(', ')}` : '';
    const text = `${record.budget} PFLOP${marks}: ${(100 * points.at(-1)[1]).toFixed(2)} %`;
    return [
      `<circle class="d${i % COLOURS.length}" cx="${right - 250}" cy="${at - 4}" r="4"/>`,
      `<text x="${right - 240}" y="${at}">${escaped(text)}</text>`,
    ];
  });
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="Accuracy against FLOPs">`,
    `<style>${style(Math.min(series.length, COLOURS.length))}</style>`,
    `<rect class="back" width="${WIDTH}" height="${HEIGHT}"/>`,
    ...horizontal,
    ...vertical,
    ...lines,
    ...legend,
    `<text x="${(BOX.left + right) / 2}" y="${HEIGHT - 12}" text-anchor="middle">PFLOP of training (logarithmic)</text>`,
    `<text transform="translate(16 ${(BOX.top + bottom) / 2}) rotate(-90)" text-anchor="middle">accuracy, %</text>`,
    '</svg>',
  ].join('\n')}\n`;
}
