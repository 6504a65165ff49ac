// docs/speedrun.md, from the results that scripts/speedrun_results.mjs reads.
import { difference, recordsOf } from './speedrun_results.mjs';

const WIDTH = 128; // characters of a line
const FOLDER = 'bench/speedrun';

/** Breaks text at `gaps`; the lines after the first begin with `indent`, and all but the last end with `end`. */
function wrapped(text, { gaps = ' ', indent = '', end = '' } = {}) {
  const lines = [];
  for (const word of text.split(gaps)) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length + end.length <= WIDTH) lines[lines.length - 1] = longer;
    else lines.push(lines.length > 0 ? `${indent}${word}` : word);
  }
  return lines.join(`${end}\n`);
}

/** A command line that is broken before flags, so that a flag and its value stay together. */
const command = (text) => `\`\`\`\n${wrapped(text, { gaps: / (?=--)/, indent: '  ', end: ' \\' })}\n\`\`\``;

function table(head, rows) {
  const numeric = head.map((_, i) =>
    rows.every((row) => /^([-+]?[\d.,]+( ± [\d.]+)?( %)?|-)$/.test(`${row[i]}`)),
  );
  const line = (cells) => `| ${cells.join(' | ')} |`;
  const rule = `|${numeric.map((yes) => (yes ? '---:' : '---')).join('|')}|`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

const percent = (value) => {
  if (value === null) return '-';
  const mean = (100 * value.mean).toFixed(2);
  return value.deviation === null ? `${mean} %` : `${mean} ± ${(100 * value.deviation).toFixed(2)} %`;
};
const pflop = (value) => (value === null ? '-' : `${Number((value.mean / 1e15).toPrecision(3))}`);
const signed = (points) => `${points < 0 ? '-' : '+'}${Math.abs(points).toFixed(2)}`;
const unique = (values) => [...new Set(values)];

/** Versions, commits and adapters of runs. */
function origin(runs) {
  const commits = unique(
    runs.map(({ commit, dirty }) =>
      commit ? `${commit.slice(0, 10)}${dirty ? ' with changes' : ''}` : 'an unknown commit',
    ),
  );
  const versions = unique(runs.map(({ version }) => version ?? 'unknown'));
  const adapters = unique(runs.map(({ adapter }) => adapter ?? 'an unknown adapter'));
  const dates = unique(runs.map(({ date = '' }) => date.slice(0, 10)).filter(Boolean)).sort();
  const when = dates.length > 1 ? `${dates[0]} to ${dates.at(-1)}` : (dates[0] ?? 'at an unknown date');
  return `Trained on ${adapters.join(', ')}, ${when}; version ${versions.join(', ')}, ${commits.join(', ')}.`;
}

const runsOf = ({ configurations }) => configurations.flatMap(({ runs }) => runs);

/** How to repeat any row of a table: the file of a run is a --config file. */
function repeatRows({ configurations }) {
  const folder = configurations[0].first.path.replace(/[^/]*$/, '');
  return wrapped(
    `\`node dist/train.js --config ${FOLDER}/${folder}CONFIGURATION.json\` repeats a row with its first seed; \`--seed\` takes another.`,
  );
}

function records(labels) {
  const all = recordsOf(labels);
  if (all.length === 0) return [];
  const rows = all.map(({ budget, marks, name, first, flops, raw, ema, seeds }) => [
    ...[budget, marks.length > 0 ? `marked: ${marks.join(', ')}` : 'plain', name],
    ...[first.parameters.toLocaleString('en-US'), pflop(flops), percent(raw), percent(ema), seeds.length],
  ]);
  const head = [
    'budget, PFLOP',
    'model',
    'recipe',
    'parameters',
    'PFLOP',
    'accuracy',
    'accuracy of the EMA',
    'seeds',
  ];
  return [
    '## Records',
    wrapped(
      `The best recipe of each budget, by its accuracy on ${all[0].judged} after the last step. A plain model is a ViT of timm's ` +
        'shapes. A marked one has parts that such a ViT lacks, which are named.',
    ),
    table(head, rows),
    wrapped(origin(all.flatMap(({ runs }) => runs))),
  ];
}

/** The command line of each record, in full. */
function repeatRecords(labels) {
  const all = recordsOf(labels);
  if (all.length === 0) return [];
  return [
    '### To repeat a record',
    ...all.flatMap(({ budget, name, first, seeds, note }) => [
      wrapped(
        `${budget} PFLOP, ${name}${note ? `: ${note}` : '.'} ` +
          `\`--config ${FOLDER}/${first.path}\` stands for the same flags. ` +
          (seeds.length > 1 ? `Seeds: ${seeds.join(', ')}.` : `Seed: ${seeds[0]}.`),
      ),
      command(first.command),
    ]),
  ];
}

function ablation(label) {
  const base = label.configurations.find(({ name }) => name === 'base');
  const others = label.configurations.filter((it) => it !== base);
  const rows = others.map((it) => {
    const { points, error, verdict } = difference(it, base);
    return [
      it.name,
      percent(it.better),
      signed(points),
      error === null ? '-' : error.toFixed(2),
      verdict,
      it.seeds.length,
    ];
  });
  return [
    `### ${label.title}`,
    ...(label.note ? [wrapped(label.note)] : []),
    wrapped(`Accuracy on ${label.judged}; ${pflop(base.flops)} PFLOP for the base.`),
    table(
      ['configuration', 'accuracy', 'difference', 'standard error', 'verdict', 'seeds'],
      [['base', percent(base.better), '-', '-', '-', base.seeds.length], ...rows],
    ),
    repeatRows(label),
    wrapped(origin(runsOf(label))),
  ];
}

function ablations(labels) {
  const own = labels.filter(({ kind }) => kind === 'ablation');
  if (own.length === 0) return [];
  return [
    '## Ablations',
    wrapped(
      'The accuracy is that of the weights or of their EMA at the last evaluation, whichever is better in a run. Differences to the base are in ' +
        'percentage points. Their standard error follows from the spread of the seeds. A difference within two standard errors ' +
        'is called nothing measurable. Chance exceeds that in one comparison of twenty with many seeds, and in about one of nine ' +
        'with three seeds each.',
    ),
    ...own.flatMap(ablation),
  ];
}

function studies(labels) {
  const own = labels.filter(({ kind }) => kind === 'study');
  if (own.length === 0) return [];
  const head = [
    'configuration',
    'parameters',
    'MFLOPs an image',
    'PFLOP',
    'epochs',
    'accuracy',
    'accuracy of the EMA',
    'seeds',
  ];
  return [
    '## Studies',
    ...own.flatMap((label) => [
      `### ${label.title}`,
      ...(label.note ? [wrapped(label.note)] : []),
      `Accuracy on ${label.judged}.`,
      table(
        head,
        label.configurations.map(({ name, first, flops, epochs, raw, ema, seeds }) => [
          ...[name, first.parameters.toLocaleString('en-US'), first.mflops.toFixed(1), pflop(flops)],
          ...[epochs ? Number(epochs.mean.toFixed(1)) : '-', percent(raw), percent(ema), seeds.length],
        ]),
      ),
      repeatRows(label),
      wrapped(origin(runsOf(label))),
    ]),
  ];
}

/** The page as Markdown. `plotted` says whether docs/speedrun.svg exists. */
export function page(labels, plotted) {
  const about =
    'How accurate a Vision Transformer becomes for a given number of floating-point operations (FLOPs) of training. One PFLOP is ' +
    '1e15; a multiply-add counts as two. After ± stands the standard deviation over the seeds.';
  const made = `\`node scripts/speedrun.mjs\` writes this page from the files under \`${FOLDER}\`. Do not edit it.`;
  const results =
    labels.length === 0
      ? ['There are no results yet.']
      : [
          ...records(labels),
          ...(plotted ? ['![Accuracy of each record against the FLOPs of its training](speedrun.svg)'] : []),
          ...repeatRecords(labels),
          ...ablations(labels),
          ...studies(labels),
        ];
  return `${['# Accuracy per FLOP', wrapped(about), ...results, made].join('\n\n')}\n`;
}
