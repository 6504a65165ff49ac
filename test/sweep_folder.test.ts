/** The folder of a sweep: resuming runs, refusals, files that it never deletes, and reading the runs' figures. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../src/core/errors.js';
import { describeDataset } from '../src/data/named.js';
import { lockRun } from '../src/runs/lock.js';
import { SweepFolder } from '../src/sweeps/folder.js';
import { crossProduct, parseAxis } from '../src/sweeps/grid.js';
import { checkNames, type PlannedRun, planRun } from '../src/sweeps/plan.js';
import type { SweepRow } from '../src/sweeps/table.js';
import type { EpochEntry } from '../src/training/progress.js';
import { sleep, withBuild } from './faults/commands.js';
import { scratch } from './faults/common.js';

const folder = scratch('sweep');
let folders = 0;
const fresh = () => join(folder, `sweep-${folders++}`);

const small = { dataset: 'shapes10', embedDim: 16, depth: 1, numHeads: 2, patchSize: 8 };
const plan = (grid: string): Promise<PlannedRun[]> => {
  const images = async () => describeDataset('shapes10')!;
  return Promise.all(crossProduct([parseAxis(grid)]).map((it) => planRun(it, [small], images)));
};
const planOne = async () => (await plan('depth=1')) as [PlannedRun];

const opened: SweepFolder[] = [];
afterEach(() => {
  for (const sweep of opened.splice(0)) sweep.close();
});
function open(path: string, runs: readonly PlannedRun[]): SweepFolder {
  const sweep = SweepFolder.open(path, runs, 'test');
  opened.push(sweep);
  return sweep;
}

type Content = string | object;
/** Writes files under `path`. A value that is not a text is written as JSON. */
function leave(path: string, files: Readonly<Record<string, Content>>): void {
  for (const [name, content] of Object.entries(files)) {
    const file = join(path, name);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  }
}
const STATE = 'checkpoints/last.state.safetensors';
/** The folder of a run whose process was killed, with or without a saved state. */
const leaveRun = (path: string, run: PlannedRun, files: Readonly<Record<string, Content>> = {}) =>
  leave(join(path, run.name), { 'config.json': { settings: run.settings }, ...files });
const leaveTable = (path: string, ...rows: readonly unknown[]) =>
  leave(path, { 'sweep.json': { version: 'test', runs: rows } });
const rowOf = ({ name }: PlannedRun, status: SweepRow['status']) => ({ name, status, error: null });

/** All files under `path` with their bytes. */
const contents = (path: string): [string, string][] =>
  readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
    .map((file) => [file, readFileSync(file, 'latin1')]);

describe('a sweep that goes on', () => {
  it('starts anew what saved nothing, and continues what did', async () => {
    const [first, second] = (await plan('depth=1,2')) as [PlannedRun, PlannedRun];
    const path = fresh();
    leaveTable(path, rowOf(first, 'running'), rowOf(second, 'stopped'));
    leaveRun(path, first, { 'steps.jsonl': '{}' });
    leaveRun(path, second, { [STATE]: '' });
    const sweep = open(path, [first, second]);
    expect([sweep.canContinue(first), sweep.canContinue(second)]).toEqual([false, true]);
    sweep.begin(first);
    sweep.begin(second);
    expect([existsSync(sweep.runPath(first)), existsSync(sweep.runPath(second))]).toEqual([false, true]);
    expect(sweep.rows().map(({ status }) => status)).toEqual(['running', 'running']);
  });

  it('takes a run as finished only as long as it is', async () => {
    const [run] = await planOne();
    const path = fresh();
    leaveRun(path, run, { [STATE]: '' });
    leaveTable(path, rowOf(run, 'finished'));
    const longer = { ...run, settings: { ...run.settings, epochs: run.settings.epochs + 1 } };
    for (const [it, finished] of [
      [run, true],
      [longer, false],
    ] as const) {
      const sweep = open(path, [it]);
      expect(sweep.isFinished(it)).toBe(finished);
      sweep.close();
    }
    const other = { ...run, settings: { ...run.settings, seed: 8 } };
    expect(() => open(path, [other])).toThrow(
      /depth=1: A continued run must keep its settings: seed was 42, now 8\. Give another --output/,
    );
  });
});

it('a sweep keeps the rows of configurations that an earlier one in its folder had', async () => {
  const path = fresh();
  const [first, second] = (await plan('depth=1,2')) as [PlannedRun, PlannedRun];
  const sweep = open(path, [first]);
  sweep.mark(first, 'finished');
  sweep.close();
  const next = open(path, [second]);
  next.mark(second, 'failed', 'because.');
  const seen = [
    { name: 'depth=1', changes: { depth: 1 }, status: 'finished', parameters: first.parameters },
    { name: 'depth=2', changes: { depth: 2 }, status: 'failed', error: 'because.' },
  ];
  expect(next.rows()).toMatchObject(seen);
  expect(JSON.parse(readFileSync(join(path, 'sweep.json'), 'utf8')).runs).toMatchObject(seen);
  next.close();
  // The same configuration twice is one row, at its place in the plan.
  expect(
    open(path, [first])
      .rows()
      .map(({ name }) => name),
  ).toEqual(['depth=2', 'depth=1']);
});

describe('a sweep deletes nothing', () => {
  it.each<[string, SweepRow['status'] | null, Record<string, Content>]>([
    ['that it did not start', null, { 'steps.jsonl': '{}' }],
    ['that it did not start, though it is in its table', 'waiting', { 'steps.jsonl': '{}' }],
    ['that has saved weights', 'running', { 'checkpoints/best.safetensors': 'weights' }],
    ['that is finished', 'finished', { 'checkpoints/final.safetensors': 'weights' }],
  ])('%s', async (_, status, files) => {
    const [run] = await planOne();
    const path = fresh();
    const longer = { ...run, settings: { ...run.settings, epochs: run.settings.epochs + 1 } };
    leaveRun(path, run, files);
    leaveTable(path, ...(status ? [rowOf(run, status)] : []));
    const before = contents(path);
    expect(() => open(path, [longer])).toThrow(ConfigError);
    expect(() => open(path, [longer])).toThrow(
      `${join(path, 'depth=1')} has no ${STATE} to continue from. Move it away or give another --output.`,
    );
    expect(contents(path)).toEqual(before);
  });

  it('that another process trains into', async () => {
    const [run] = await planOne();
    const path = fresh();
    leaveRun(path, run, { 'steps.jsonl': '{}' });
    leaveTable(path, rowOf(run, 'running'));
    const lock = lockRun(join(path, run.name));
    expect(() => open(path, [run])).toThrow(/depth=1 is in use by process \d+, .* Wait until it ends/);
    lock.release();
    // The run may also be locked after the sweep has started and before the run's turn.
    const sweep = open(path, [run]);
    const late = lockRun(join(path, run.name));
    const before = contents(path);
    expect(() => sweep.begin(run)).toThrow(/depth=1 is in use by process/);
    expect(contents(path)).toEqual(before);
    late.release();
  });
});

it('one folder has one sweep at a time', async () => {
  const [run] = await planOne();
  const path = fresh();
  const sweep = open(path, [run]);
  expect(() => open(path, [run])).toThrow(/sweep-\d+ is in use by process \d+, .* Wait until it ends/);
  sweep.close();
  expect(readdirSync(path)).toEqual([]);
  open(path, [run]);
});

describe('what is damaged is refused, and left as it is', () => {
  it.each<[string, string, Content, RegExp]>([
    ['no JSON', 'sweep.json', '{', /sweep\.json: the file is not JSON/],
    ['no object', 'sweep.json', '[]', /sweep\.json: the file is not the table of a sweep\./],
    ['no rows', 'sweep.json', {}, /is not the table of a sweep\./],
    ['rows of nothing', 'sweep.json', { runs: [null] }, /is not the table of a sweep\./],
    ['rows of text', 'sweep.json', { runs: ['depth=1'] }, /is not the table of a sweep\./],
    ['rows without names', 'sweep.json', { runs: [{ status: 'running', error: null }] }, /is not the table/],
    [
      'an unknown status',
      'sweep.json',
      { runs: [{ name: 'depth=1', status: 'fine', error: null }] },
      /table/,
    ],
    ['an error of no text', 'sweep.json', { runs: [{ name: 'a', status: 'failed', error: 3 }] }, /the table/],
    [
      'history of no entries',
      'depth=1/history.json',
      {},
      /history\.json: .* array with an entry for each epoch/,
    ],
    ['history of nothing', 'depth=1/history.json', [null], /with an entry for each epoch/],
    ['history of text', 'depth=1/history.json', '["a"]', /with an entry for each epoch/],
    [
      'a figure of text',
      'depth=1/history.json',
      [{ epoch: 1, images: 'many' }],
      /with an entry for each epoch/,
    ],
    ['no settings', 'depth=1/config.json', {}, /config\.json: the file is not the config\.json of a run\./],
    ['settings of no object', 'depth=1/config.json', { settings: 3 }, /is not the config\.json of a run\./],
    ['no object', 'depth=1/config.json', '[]', /is not the config\.json of a run\./],
    [
      'a setting unknown',
      'depth=1/config.json',
      { settings: { depht: 1 } },
      /config\.json: There is no sett/,
    ],
    ['a setting beyond', 'depth=1/config.json', { settings: { depth: -1 } }, /config\.json: --depth must be/],
  ])('%s in %s', async (_, name, content, says) => {
    const [run] = await planOne();
    const path = fresh();
    leaveRun(path, run, { [STATE]: '' });
    leave(path, { [name]: content });
    const before = contents(path);
    expect(() => open(path, [run])).toThrow(FormatError);
    expect(() => open(path, [run])).toThrow(says);
    expect(contents(path)).toEqual(before);
  });

  it.each<[string, Record<string, Content>, RegExp]>([
    ['a run', { 'config.json': {} }, /is a run and not a sweep\. Give another --output\./],
    ['a file', { 'depth=1': '' }, /depth=1 is a file, but the sweep needs a folder there\. Move it away/],
  ])('%s in the way', async (_, files, says) => {
    const path = fresh();
    const runs = await planOne();
    leave(path, files);
    const before = contents(path);
    expect(() => open(path, runs)).toThrow(ConfigError);
    expect(() => open(path, runs)).toThrow(says);
    expect(contents(path)).toEqual(before);
  });
});

describe('the figures of a run', () => {
  const entry = (epoch: number, val_accuracy: number | null, ema_val_accuracy: number | null) =>
    ({
      ...{ epoch, train_loss: 1 / epoch, train_accuracy: 0.5, images: 100, lr: 1e-3, seconds: 2 },
      ...{ val_loss: 1, val_accuracy, ema_val_loss: 1, ema_val_accuracy },
    }) satisfies EpochEntry;

  it.each<[string, EpochEntry[], number | null, number | null]>([
    ['of the weights alone', [entry(1, 0.5, null), entry(2, 0.4, null)], 0.5, 0.4],
    ['of the averaged weights where they were better', [entry(1, 0.5, 0.6), entry(2, 0.4, 0.7)], 0.7, 0.4],
    ['of the weights where the average was worse', [entry(1, 0.5, 0.1), entry(2, 0.4, 0.2)], 0.5, 0.4],
    ['of the epochs that were judged', [entry(1, 0.5, 0.6), entry(2, null, null)], 0.6, 0.5],
    ['of none that were', [entry(1, null, null)], null, null],
  ])('have the best accuracy %s', async (_, history, best, last) => {
    const [run] = await planOne();
    const path = fresh();
    leaveRun(path, run, { [STATE]: '', 'history.json': history });
    const [row] = open(path, [run]).rows();
    expect(row).toMatchObject({ best_accuracy: best, last_accuracy: last, epochs: history.length });
  });

  it('have the last accuracy of the averaged weights, and the operations of the whole run', async () => {
    const [run] = await planOne();
    const path = fresh();
    const history = [
      { ...entry(1, 0.5, 0.6), flops: 1e12 },
      { ...entry(2, 0.4, 0.3), flops: 2e12 },
    ];
    leaveRun(path, run, { [STATE]: '', 'history.json': history });
    expect(open(path, [run]).rows()).toMatchObject([{ last_ema_accuracy: 0.3, flops: 2e12, seed: 42 }]);
  });

  it('are read of a run of 0.1.0 and of one whose steps were all skipped', async () => {
    const [run] = await planOne();
    const path = fresh();
    const { ema_val_loss: _, ema_val_accuracy: __, ...old } = entry(1, 0.5, null);
    leaveRun(path, run, { [STATE]: '', 'history.json': [old, { ...entry(2, 0.5, null), train_loss: null }] });
    expect(open(path, [run]).rows()[0]).toMatchObject({
      ...{ epochs: 2, best_accuracy: 0.5, train_loss: null, last_ema_accuracy: null, flops: null },
    });
  });
});

it.each([
  ['sweep.json', 'a configuration cannot be called sweep.json: the sweep itself has a file of that name.'],
  ['run.lock', 'a configuration cannot be called run.lock'],
  ['rung-2', 'a configuration cannot be called rung-2: a sweep with --rung has a folder of that name.'],
  ['config.json', 'a configuration cannot be called config.json'],
  [
    'x'.repeat(201),
    /the name of a configuration has 201 characters, which is too long for a folder\. .* in a --list file/,
  ],
])('a configuration cannot be called %s', (name, says) => {
  expect(() => checkNames([{ name, changes: {} }])).toThrow(says);
});

describe('two sweeps of one folder', () => {
  withBuild();

  it('the second is refused, and the first one’s live run goes on', async () => {
    const path = fresh();
    const flags =
      '--dataset shapes10 --limit-train 400 --embed_dim 16 --num_blocks 1 --num_heads 2 --patch_size 8 --batch_size 10 --epochs 1 --quiet';
    const args = ['dist/sweep.js', '--grid', 'seed=1,2', ...flags.split(' '), '--output', path];
    const first = spawn(process.execPath, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => first.on('close', resolve));
    for (let i = 0; i < 1000 && !existsSync(join(path, 'seed=1', 'config.json')); i++) await sleep(0.02);
    expect(existsSync(join(path, 'seed=1', STATE))).toBe(false);
    const second = spawnSync(process.execPath, args, { encoding: 'utf8' });
    expect(second.stderr).toBe(
      `patchlight: ${path} is in use by process ${first.pid}, which trains into it. Wait until it ends, or give another --output.\n`,
    );
    expect(second.status).toBe(1);
    expect(await ended).toBe(0);
    const table = JSON.parse(readFileSync(join(path, 'sweep.json'), 'utf8')) as { runs: SweepRow[] };
    expect(table.runs.map(({ status, epochs }) => [status, epochs])).toEqual([
      ['finished', 1],
      ['finished', 1],
    ]);
  });
});
