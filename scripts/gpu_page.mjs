// The page of scripts/gpu.mjs: OUT/gpu.md from what stands in OUT/gpu.json.

const SLOWEST = 5; // pipelines
const KERNELS = 12; // rows of a step's profile

const number = (value) =>
  typeof value === 'number' ? (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3)) : '-';

/** A table, or nothing if it has no rows; numbers are on the right. In a cell, a bar would end it. */
function table(head, rows) {
  if (rows.length === 0) return [];
  const line = (cells) => `| ${cells.map((cell) => `${cell}`.replaceAll('|', '/')).join(' | ')} |`;
  const numeric = head.map((_, i) => rows.every((row) => /^([\d.e+]+|-)$/.test(`${row[i]}`)));
  const rule = `|${numeric.map((yes) => (yes ? '---:' : '---')).join('|')}|`;
  return [[line(head), rule, ...rows.map(line)].join('\n')];
}

/** What a part wrote about a training step: Patchlight's rows are a list, PyTorch's is one object. */
function stepOf({ figures }) {
  const row = Array.isArray(figures) ? figures.find(({ op }) => op === 'step') : figures;
  return row?.images_per_second ? row : null;
}

/** The adapter that commands use: number 0 of `train.js --list-adapters`. Null if there is none. */
export function adapterOf(results) {
  const listed = results.find(({ kind }) => kind === 'adapters')?.output ?? '';
  const [, name, type, driver] = /^0: (.*?); (CPU|GPU); driver (.*)$/m.exec(listed) ?? [];
  return name ? { name, software: type === 'CPU', driver } : null;
}

/** What a reader must know before the figures. */
function warnings({ adapter, results }) {
  const checked = results.filter(({ kind, figures }) => kind === 'check' && figures);
  const wrong = checked
    .flatMap(({ figures: { rows } }) => rows)
    .filter(({ problems }) => problems.length > 0);
  const units = checked[0]?.figures.adapter.subgroupMatrix;
  const nvidia = /nvidia/i.test(`${adapter?.name} ${adapter?.driver}`);
  return [
    ...(adapter?.software ? ['**software adapter, not a GPU**'] : []),
    ...(wrong.length > 0
      ? [
          `**${wrong.length} ${wrong.length === 1 ? 'result is' : 'results are'} wrong**: see the checks below.`,
        ]
      : []),
    ...(nvidia && units?.length === 0
      ? ['**This NVIDIA card lists no matrix units**, so `--amp` runs without them. Is its driver recent?']
      : []),
  ];
}

function matrixUnits(results) {
  const units = results.find(({ kind, figures }) => kind === 'check' && figures)?.figures.adapter
    .subgroupMatrix;
  if (!units) return [];
  const texts = units.map((it) => `${it.M}x${it.N}x${it.K} ${it.componentType} to ${it.resultComponentType}`);
  return [`Matrix units: ${texts.join(', ') || 'none'}.`];
}

function pipelineTable(results) {
  const rows = results
    .filter(({ kind }) => kind === 'step')
    .map((result) => [result.name, stepOf(result)?.pipelines ?? []])
    .filter(([, made]) => made.length > 0)
    .map(([name, made]) => {
      const total = made.reduce((sum, { ms }) => sum + ms, 0);
      const slowest = made.toSorted((a, b) => b.ms - a.ms).slice(0, SLOWEST);
      const texts = slowest.map(({ kernel, constants, ms }) =>
        [`${number(ms)}:`, kernel, constants].join(' ').trim(),
      );
      return [name, made.length, number(total), texts.join('; ')];
    });
  return table(['training step', 'pipelines', 'ms for all', 'the slowest, ms'], rows);
}

/** The beginning of a step's output: its most expensive kernels. */
function profile({ name, output }) {
  const lines = output.split('\n');
  const from = lines.findIndex((line) => /^\| kernel /.test(line));
  if (from < 0) return [];
  const length = lines.slice(from).findIndex((line) => !line.startsWith('|'));
  const rows = lines.slice(from, from + Math.min(length, 2 + KERNELS));
  return [`### ${name}\n\n${rows.join('\n')}`];
}

/** The page as Markdown; each part's state, and whatever figures the parts so far have. */
export function markdown(known) {
  const { adapter, machine, made, results } = known;
  const steps = results.flatMap((result) => {
    const row = stepOf(result);
    return row ? [[result.name, number(row.ms), number(row.images_per_second), number(row.gflops)]] : [];
  });
  const states = results.map(({ name, problem, seconds, summary }) => [
    name,
    problem ?? 'done',
    seconds.toFixed(0),
    summary,
  ]);
  const fenced = (text) => `\`\`\`\n${text.trim()}\n\`\`\``;
  const whole = /^(adapters|nvidia|check|ops|tune)$/;
  const shown = results.filter(({ kind, problem, output }) => output && (problem || whole.test(kind)));
  const profiles = results.filter(({ kind }) => kind === 'step').flatMap(profile);
  return `${[
    `# ${adapter?.name ?? 'No adapter'}`,
    ...warnings(known),
    `${made.slice(0, 10)}. ${[adapter && `Driver: ${adapter.driver}`, ...machine].filter(Boolean).join('; ')}.`,
    ...matrixUnits(results),
    ...table(['training step', 'ms', 'images/s', 'GFLOP/s'], steps),
    ...pipelineTable(results),
    ...table(['part', '', 'seconds', ''], states),
    ...(profiles.length > 0 ? ['## Kernels of a training step', ...profiles] : []),
    ...shown.map(({ name, output }) => `## ${name}\n\n${fenced(output)}`),
  ].join('\n\n')}\n`;
}
