/** docs/speedrun.md is what the results give, and a page of made-up results shows them as they are. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { curveOf, plot } from '../scripts/speedrun_curve.mjs';
import { page } from '../scripts/speedrun_page.mjs';
import { difference, readResults, recordsOf, spreadOf } from '../scripts/speedrun_results.mjs';
import { describeDataset } from '../src/data/named.js';
import { planRun } from '../src/sweeps/plan.js';
import { Results } from '../src/sweeps/results.js';
import { onRung } from '../src/sweeps/rungs.js';
import { inSeeds } from '../src/sweeps/seeds.js';
import { scratch } from './faults/common.js';

const folder = scratch('speedrun');
let folders = 0;
const fresh = () => {
  const path = join(folder, `${folders++}`);
  mkdirSync(path);
  return path;
};
const script = (...args) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/speedrun.mjs', ...args], {
    encoding: 'utf8',
  });
  return { code: status, out: stdout, err: stderr };
};

const leave = (file, content) => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
};
const entry = (epoch, epochs, accuracy, ema) => ({
  ...{ epoch, train_loss: 1, train_accuracy: 0.5, images: 100, lr: 1e-3, seconds: 1, flops: epoch * 1e12 },
  ...{ val_loss: 1, val_accuracy: (accuracy * epoch) / epochs },
  ...{ ema_val_loss: null, ema_val_accuracy: ema && (ema * epoch) / epochs },
});

/**
 * Leaves the results of a configuration in `out`, as a sweep does: a run for each accuracy, which is that of the weights or a
 * pair with that of the EMA.
 */
async function result(out, label, name, accuracies, { epochs = 4, rung = null, ...settings } = {}) {
  const images = async () => describeDataset('cifar10');
  const once = await planRun({ name, changes: {} }, [{ embedDim: 48, numHeads: 3, ...settings }], images);
  const results = new Results(out, label, { commit: { commit: 'c0ffeec0ffee', dirty: false }, init: null });
  const runs = inSeeds([rung === null ? once : onRung(once, rung)], accuracies.length);
  for (const [i, run] of runs.entries()) {
    const [accuracy, ema = null] = [accuracies[i]].flat();
    const path = fresh();
    leave(join(path, 'config.json'), { version: '1.2.3', adapter: 'a GPU' });
    leave(
      join(path, 'history.json'),
      Array.from({ length: epochs }, (_, at) => entry(at + 1, epochs, accuracy, ema)),
    );
    results.write(run, path, true);
  }
}

/** The cells of the table's row that has this text in one of its cells. */
const row = (text, name) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    )
    .filter((cells) => cells.includes(name));

it('docs/speedrun.md is what the results in bench/speedrun give', () => {
  expect(script('--check')).toEqual({ code: 0, out: '', err: '' });
});

describe('the page', () => {
  it('says in a line that there are no results', () => {
    const text = page([], false);
    expect(text).toMatch(/^There are no results yet\.$/m);
    expect(text).not.toContain('|');
  });

  it('shows the best plain and the best marked recipe of each budget', async () => {
    const out = fresh();
    await result(out, 'record-0.14', 'large', [0.9, 0.91, 0.92], { depth: 5 });
    await result(out, 'record-0.03', 'poor', [0.8]);
    await result(
      out,
      'record-0.03',
      'good',
      [
        [0.7, 0.85],
        [0.72, 0.87],
      ],
      { emaDecay: 0.9, depth: 7, shuffle: false },
    );
    await result(out, 'record-0.03', 'other', [0.84]);
    const file = join(out, 'record-0.03', 'other.json');
    const other = JSON.parse(readFileSync(file, 'utf8'));
    leave(file, { ...other, settings: { ...other.settings, locality: true, tokenizer: 'conv' } });
    leave(join(out, 'labels.json'), { 'record-0.14': { note: 'twelve of all.', model: 'plain' } });

    const labels = readResults(out);
    expect(recordsOf(labels).map(({ budget, name }) => [budget, name])).toEqual([
      [0.03, 'good'],
      [0.03, 'other'],
      [0.14, 'large'],
    ]);
    const text = page(labels, true);
    const shown = (name) => row(text, name)[0].filter((_, i) => i !== 3);
    expect(shown('good')).toEqual([
      '0.03',
      'plain',
      'good',
      '0.004',
      '71.00 ± 1.41 %',
      '86.00 ± 1.41 %',
      '2',
    ]);
    expect(shown('other')).toEqual([
      '0.03',
      'marked: locality, conv tokenizer',
      'other',
      '0.004',
      '84.00 %',
      '-',
      '1',
    ]);
    expect(shown('large')).toEqual(['0.14', 'plain', 'large', '0.004', '91.00 ± 1.00 %', '-', '3']);
    expect(row(text, 'poor')).toEqual([]);
    expect(text).toContain('by its accuracy on the test images of cifar10');
    expect(text).toMatch(/^0\.14 PFLOP, large: twelve of all\./m);
    expect(text).toContain('--config bench/speedrun/record-0.03/good.json');
    expect(text).toMatch(/^```\nnode dist\/train\.js .*--depth 7 .*--no-shuffle.*\n```$/m);
    expect(text).toMatch(/^Trained on a GPU, \d{4}-\d\d-\d\d; version 1\.2\.3, c0ffeec0ff\.$/m);
    expect(text).toContain('](speedrun.svg)');
    expect(text.split('\n').filter((line) => line.length > 130)).toEqual([]);
  });

  it('compares an ablation with its base, which stands first', async () => {
    const out = fresh();
    await result(out, 'ablation-0.01', 'a_better', [0.94, 0.95, 0.96], { depth: 1 });
    await result(out, 'ablation-0.01', 'base', [0.9, 0.91, 0.92]);
    await result(out, 'ablation-0.01', 'noise', [0.9, 0.915, 0.93], { depth: 2 });
    await result(out, 'ablation-0.01', 'once', [0.99], { depth: 3 });
    await result(out, 'ablation-0.01', 'worse', [0.8, 0.81, 0.82], { depth: 4 });
    leave(join(out, 'labels.json'), { 'ablation-0.01': { title: 'At a small budget', note: 'A note.' } });
    const text = page(readResults(out), false);
    const table = text.slice(text.indexOf('### At a small budget')).split('\n');
    expect(table.filter((line) => line.startsWith('| ')).slice(1)).toEqual([
      '| base | 91.00 ± 1.00 % | - | - | - | 3 |',
      '| a_better | 95.00 ± 1.00 % | +4.00 | 0.82 | better | 3 |',
      '| noise | 91.50 ± 1.50 % | +0.50 | 1.04 | nothing measurable | 3 |',
      '| once | 99.00 % | +8.00 | - | one seed: no error known | 1 |',
      '| worse | 81.00 ± 1.00 % | -10.00 | 0.82 | worse | 3 |',
    ]);
    expect(text).toContain('--config bench/speedrun/ablation-0.01/CONFIGURATION.json');
  });

  it('shows a study, and of successive halving the last rung alone', async () => {
    const out = fresh();
    await result(out, 'study-width', 'embed_dim=96', [0.7], { embedDim: 96 });
    await result(out, 'study-width', 'embed_dim=48', [0.6]);
    await result(out, 'search-a', 'first', [0.6], { rung: 1 });
    await result(out, 'search-a', 'second', [0.7], { rung: 2, depth: 2 });
    const text = page(readResults(out), false);
    expect(row(text, 'embed_dim=96')[0].slice(3)).toEqual(['0.004', '4', '70.00 %', '-', '1']);
    expect(text.indexOf('embed_dim=48')).toBeLessThan(text.indexOf('embed_dim=96')); // by number
    expect(row(text, 'first')).toEqual([]);
    expect(row(text, 'second')).toHaveLength(1);
    expect(text).toContain('--config bench/speedrun/search-a/rung-2/CONFIGURATION.json');
  });

  it.each([
    ['a file that is no JSON', 'study-a', '{', /a\.json is not JSON: /],
    ['a file that is no result', 'study-a', '{}', /a\.json is not the result of a finished run/],
    ['a record on validation images', 'record-1', { split: 'validation' }, /a record counts test images/],
    ['a record without its budget', 'record-best', {}, /must be called after its budget in PFLOP/],
    [
      'a record beyond its budget',
      'record-0.001',
      {},
      /a\.json took 4000000000000 FLOPs, not 0\.001 PFLOP or less/,
    ],
    ['a record that counted nothing', 'record-1', { flops: null }, /took an unknown number of FLOPs/],
    ['an ablation without a base', 'ablation-1', {}, /ablation-1 has no configuration called base/],
    [
      'other images in a label',
      'study-a',
      { name: 'b', configuration: 'b', dataset: 'cifar100' },
      /labels of their own/,
    ],
    [
      'other settings of a seed',
      'study-a',
      { name: 'a,seed=43', seed: 43, settings: { depth: 9 } },
      /their settings differ/,
    ],
  ])('is refused for %s', async (_, label, change, says) => {
    const out = fresh();
    await result(out, label, 'a', [0.5]);
    const first = join(out, label, 'a.json');
    const changed =
      typeof change === 'string' ? change : { ...JSON.parse(readFileSync(first, 'utf8')), ...change };
    leave(change.name ? join(out, label, `${change.name}.json`) : first, changed);
    const { code, err } = script('--from', out, '--to', fresh());
    expect(err).toMatch(says);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(code).toBe(1);
  });

  it('is refused for records on different images', async () => {
    const out = fresh();
    await result(out, 'record-1', 'a', [0.5]);
    await result(out, 'record-2', 'a', [0.5], { dataset: 'cifar100' });
    expect(script('--from', out, '--to', fresh()).err).toMatch(/all must be on the same images/);
  });
});

describe('the script', () => {
  it('writes what the results give, the same each time, and notices when they change', async () => {
    const [from, to] = [fresh(), fresh()];
    const args = ['--from', from, '--to', to];
    const [text, svg] = ['speedrun.md', 'speedrun.svg'].map((name) => join(to, name));
    expect(script(...args, '--check').err).toMatch(/speedrun\.md is not what the results give\. Run node/);
    expect(script(...args).code).toBe(0);
    expect(script(...args, '--check').code).toBe(0);
    expect(existsSync(svg)).toBe(false);

    await result(from, 'record-0.03', 'base', [0.8, 0.82]);
    const stale = script(...args, '--check');
    expect([stale.code, stale.err]).toEqual([
      1,
      `${text} is not what the results give. Run node scripts/speedrun.mjs.\n`,
    ]);
    expect(script(...args).code).toBe(0);
    const written = [text, svg].map((file) => readFileSync(file, 'utf8'));
    expect(script(...args).code).toBe(0);
    expect([text, svg].map((file) => readFileSync(file, 'utf8'))).toEqual(written);
    writeFileSync(svg, '<svg/>');
    expect(script(...args, '--check').err).toMatch(/speedrun\.svg is not what the results give/);

    rmSync(join(from, 'record-0.03'), { recursive: true });
    expect(script(...args).code).toBe(0);
    expect(existsSync(svg)).toBe(false);
  });

  it('refuses flags that it does not have', () => {
    const { code, err } = script('--chekc');
    expect(err).toMatch(/--chekc.*--help lists what there is\.\n$/);
    expect(code).toBe(1);
  });
});

describe('the plot', () => {
  it('is small, whole, for light and dark backgrounds, with a line for each record', async () => {
    const out = fresh();
    await result(out, 'record-0.3', 'a', [0.8, 0.9], { epochs: 300 });
    await result(out, 'record-1', 'b', [0.95], { epochs: 700, depth: 2 });
    const svg = plot(recordsOf(readResults(out)));
    expect(svg.length).toBeLessThan(100_000);
    expect(svg.match(/<path class="line/g)).toHaveLength(2);
    expect(svg).toContain('prefers-color-scheme:dark');
    expect(svg).toContain('>0.3 PFLOP: 85.00 %<');
    expect(svg).toContain('>1 PFLOP: 95.00 %<');
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    const open = svg.match(/<[a-z]+/g).length;
    expect(svg.match(/<\/|\/>/g)).toHaveLength(open);
  });

  it('averages seeds that were evaluated at the same FLOPs, of the better weights', () => {
    const run = (...curve) => ({ curve });
    const records = { raw: { mean: 0.3 }, ema: null };
    const [a, b] = [run([1, 0.1, null], [2, 0.3, null]), run([1, 0.2, null], [2, 0.5, null])];
    const rounded = (points) => points.map(([flops, accuracy]) => [flops, Number(accuracy.toFixed(6))]);
    expect(rounded(curveOf({ ...records, runs: [a, b] }))).toEqual([
      [1, 0.15],
      [2, 0.4],
    ]);
    const longer = run([1, 0.2, null], [3, 0.5, null]);
    expect(curveOf({ ...records, runs: [a, longer] })).toEqual([
      [1, 0.1],
      [2, 0.3],
    ]);
    const averaged = run([1, 0.1, 0.2], [2, 0.3, null], [3, 0.4, 0.6]);
    expect(curveOf({ ...records, ema: { mean: 0.6 }, runs: [averaged] })).toEqual([
      [1, 0.2],
      [3, 0.6],
    ]);
    expect(plot([{ ...records, marks: [], budget: 1, runs: [run([null, 0.5, null])] }])).toBe(null);
  });
});

it.each([
  [[0.9, 0.91, 0.92], [0.9, 0.91, 0.92], 0, Math.sqrt(2 / 3), 'nothing measurable'],
  [[0.95, 0.95], [0.9, 0.92], 4, 1, 'better'],
  [[0.92, 0.92], [0.9, 0.92], 1, 1, 'nothing measurable'],
  [[0.9, 0.92], [0.95, 0.95], -4, 1, 'worse'],
  [[0.9], [0.8, 0.8], 10, null, 'one seed: no error known'],
])('%j against %j', (one, base, points, error, verdict) => {
  const found = difference({ better: spreadOf(one) }, { better: spreadOf(base) });
  expect(found.points).toBeCloseTo(points, 9);
  if (error === null) expect(found.error).toBe(null);
  else expect(found.error).toBeCloseTo(error, 9);
  expect(found.verdict).toBe(verdict);
});
