// The results under bench/speedrun: a folder a label, a JSON file a run (sweep.js --results), and labels.json.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Trouble } from './common.mjs';

const PLAIN_TOKENIZER = 'patch';
const byName = new Intl.Collator('en', { numeric: true }).compare;

function parsed(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new Trouble(`${file} is not JSON: ${error.message}`);
  }
}

/** The last known value of a column of a run's curve; null if there is none. */
const last = (curve, column) => curve.findLast((point) => point[column] !== null)?.[column] ?? null;

/** A run from its file, with its accuracies at the last evaluation. */
function runOf(folder, path) {
  const file = join(folder, path);
  const run = parsed(file);
  const texts = ['name', 'configuration', 'dataset', 'split', 'command'];
  const whole =
    texts.every((name) => typeof run?.[name] === 'string') &&
    Number.isInteger(run.seed) &&
    (run.flops === null || typeof run.flops === 'number') &&
    typeof run.settings === 'object' &&
    Array.isArray(run.curve);
  const raw = whole ? last(run.curve, 1) : null;
  if (raw === null) throw new Trouble(`${file} is not the result of a finished run of sweep.js --results.`);
  const ema = last(run.curve, 2);
  return { ...run, path, raw, ema, better: Math.max(raw, ema ?? 0) };
}

/** Mean, standard deviation of a sample (n - 1; null for one value) and n; null if a value is missing. */
export function spreadOf(values) {
  if (values.length === 0 || values.some((value) => value === null)) return null;
  const n = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, deviation: n > 1 ? Math.sqrt(squares / (n - 1)) : null, n };
}

/** The ingredients that make a model more than a plain ViT of timm's shapes; empty if there are none. */
function marksOf({ settings: { locality, tokenizer = PLAIN_TOKENIZER }, marked }) {
  return [
    ...(locality ? ['locality'] : []),
    ...(tokenizer === PLAIN_TOKENIZER ? [] : [`${tokenizer} tokenizer`]),
    ...(marked ? [marked === true ? 'marked' : `${marked}`] : []),
  ];
}

/** The runs of one configuration, by seed. */
function configurationOf(name, runs, labelled) {
  const own = runs.toSorted((a, b) => a.seed - b.seed);
  const recipes = own.map(({ settings: { seed: _, ...rest } }) => JSON.stringify(rest));
  const other = recipes.findIndex((recipe) => recipe !== recipes[0]);
  if (other > 0)
    throw new Trouble(
      `${own[other].path} and ${own[0].path} are one configuration, but their settings differ.`,
    );
  const marks = marksOf(own[0]);
  const of = (field) => spreadOf(own.map((run) => run[field] ?? null));
  return {
    ...{ name, runs: own, first: own[0], seeds: own.map(({ seed }) => seed) },
    marks: marks.length === 0 && labelled.model === 'marked' ? ['marked'] : marks,
    ...{ raw: of('raw'), ema: of('ema'), better: of('better'), flops: of('flops'), epochs: of('epochs') },
  };
}

/** Successive halving leaves a folder for each rung; the last one has the result. */
function lastRung(paths) {
  const rung = (path) => Number(/(?:^|\/)rung-(\d+)\//.exec(path)?.[1] ?? 0);
  const highest = Math.max(...paths.map(rung));
  return paths.filter((path) => rung(path) === highest);
}

const kindOf = (label) => /^(record|ablation)-/.exec(label)?.[1] ?? 'study';

function labelOf(folder, label, labelled) {
  const files = readdirSync(join(folder, label), { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.json'))
    .sort(byName);
  if (files.length === 0) return [];
  const runs = lastRung(files).map((path) => runOf(folder, `${label}/${path}`));
  const kind = kindOf(label);
  const judged = new Set(runs.map(({ dataset, split }) => `the ${split} images of ${dataset}`));
  if (judged.size > 1)
    throw new Trouble(
      `The runs of ${label} are judged on ${[...judged].join(' and on ')}: give them labels of their own.`,
    );
  if (kind === 'record' && runs[0].split !== 'test')
    throw new Trouble(
      `The runs of ${label} are judged on validation images, but a record counts test images.`,
    );
  const budget = Number(/^record-([\d.]+)$/.exec(label)?.[1]);
  if (kind === 'record' && !(budget > 0))
    throw new Trouble(`${label} must be called after its budget in PFLOP, such as record-0.03.`);
  const dear = runs.find(({ flops }) => kind === 'record' && (flops === null || flops > budget * 1e15));
  if (dear)
    throw new Trouble(
      `${dear.path} took ${dear.flops ?? 'an unknown number of'} FLOPs, not ${budget} PFLOP or less.`,
    );
  const groups = new Map();
  for (const run of runs) groups.set(run.configuration, [...(groups.get(run.configuration) ?? []), run]);
  const configurations = [...groups].map(([name, own]) => configurationOf(name, own, labelled));
  return [
    { label, kind, budget, judged: [...judged][0], title: label, note: '', ...labelled, configurations },
  ];
}

/** Throws a Trouble if a table would compare what cannot be compared. */
function demandComparable(labels) {
  for (const { kind, label, configurations } of labels)
    if (kind === 'ablation' && !configurations.some(({ name }) => name === 'base'))
      throw new Trouble(`${label} has no configuration called base, which the others are compared with.`);
  const judged = new Set(labels.filter(({ kind }) => kind === 'record').map((label) => label.judged));
  if (judged.size > 1)
    throw new Trouble(
      `Records are judged on ${[...judged].join(' and on ')}: all must be on the same images.`,
    );
}

/** Every label with results, by name. Throws a Trouble for a file that is not a result, and for results that do not compare. */
export function readResults(folder) {
  if (!existsSync(folder)) return [];
  const file = join(folder, 'labels.json');
  const known = existsSync(file) ? parsed(file) : {};
  const labels = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort(byName)
    .flatMap((label) => labelOf(folder, label, known[label] ?? {}));
  demandComparable(labels);
  return labels;
}

/**
 * The best recipes of each budget, the smallest first: the best plain model, and the best marked one. The mean over the seeds
 * of the last accuracy decides, of the weights or of their EMA, whichever is better in a run.
 */
export function recordsOf(labels) {
  return labels
    .filter(({ kind }) => kind === 'record')
    .toSorted((a, b) => a.budget - b.budget)
    .flatMap(({ configurations, ...label }) =>
      [false, true].flatMap((marked) => {
        const own = configurations.filter(({ marks }) => marks.length > 0 === marked);
        const [best] = own.toSorted((a, b) => b.better.mean - a.better.mean);
        return best ? [{ ...label, ...best }] : [];
      }),
    );
}

/**
 * The difference of two configurations in percentage points, its standard error from their seeds (Welch; null if one has a
 * single seed), and what it says.
 */
export function difference(one, base) {
  const points = 100 * (one.better.mean - base.better.mean);
  const variances = [one.better, base.better].map(({ deviation, n }) =>
    deviation === null ? null : deviation ** 2 / n,
  );
  if (variances.includes(null)) return { points, error: null, verdict: 'one seed: no error known' };
  const error = 100 * Math.sqrt(variances[0] + variances[1]);
  const measurable = Math.abs(points) > 2 * error;
  return { points, error, verdict: measurable ? (points > 0 ? 'better' : 'worse') : 'nothing measurable' };
}
