/** The JSON files of --results: what stands in them, refusals, and that they repeat their runs. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commitOfPackage } from '../src/cli/commit.js';
import { ConfigError } from '../src/core/errors.js';
import { describeDataset } from '../src/data/named.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { crossProduct, parseAxis } from '../src/sweeps/grid.js';
import { type PlannedRun, planRun } from '../src/sweeps/plan.js';
import { changedSettings, Results, trainCommand } from '../src/sweeps/results.js';
import { onRung } from '../src/sweeps/rungs.js';
import { withBuild } from './faults/commands.js';
import { scratch } from './faults/common.js';

const folder = scratch('results');
let folders = 0;
const fresh = () => join(folder, `${folders++}`);

const leave = (file: string, content: unknown) => {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
};
const read = (file: string) => JSON.parse(readFileSync(file, 'utf8'));

const planned = async (more: object = {}): Promise<PlannedRun> => {
  const [it] = crossProduct([parseAxis('depth=1')]);
  const shared = {
    dataset: 'shapes10',
    embedDim: 16,
    numHeads: 2,
    patchSize: 8,
    dataDir: '/home/a',
    ...more,
  };
  return planRun(it!, [shared], async () => describeDataset('shapes10')!);
};
const commit = { commit: 'c0ffee', dirty: false };
const entry = (epoch: number, accuracy: number, ema: number | null) => ({
  ...{ epoch, train_loss: 1.2345678, train_accuracy: 0.5, images: 100, lr: 1e-3, seconds: 2.5 },
  ...{ val_loss: 1, val_accuracy: accuracy, ema_val_loss: null, ema_val_accuracy: ema, flops: epoch * 1e12 },
});
/** The folder of a finished run. */
function leaveRun(run: PlannedRun, epochs = 2): string {
  const path = join(fresh(), run.name);
  leave(join(path, 'config.json'), { settings: run.settings, version: '9.9.9', adapter: 'an adapter' });
  leave(
    join(path, 'history.json'),
    Array.from({ length: epochs }, (_, i) => entry(i + 1, 0.4321, i === 0 ? null : 0.5)),
  );
  return path;
}

describe('a result', () => {
  it('says what was trained, where, and how well', async () => {
    const run = await planned({ valSplit: 100, shuffle: false });
    const [path, out] = [leaveRun(run), fresh()];
    new Results(out, 'record-1', { commit, init: '/home/a/w.safetensors' }).write(run, path, true);
    const settings = {
      ...{ embedDim: 16, depth: 1, numHeads: 2, patchSize: 8 },
      ...{ dataset: 'shapes10', valSplit: 100, shuffle: false },
    };
    expect(read(join(out, 'record-1', 'depth=1.json'))).toEqual({
      ...{ label: 'record-1', name: 'depth=1', configuration: 'depth=1', rung: null, seed: 42 },
      ...{ changes: { depth: 1 }, settings, init: 'w.safetensors' },
      command: expect.stringMatching(/^node dist\/train\.js .*--no-shuffle.* --init w\.safetensors$/),
      ...{ parameters: run.parameters, mflops: run.mflops, flops: 2e12, epochs: 2, seconds: 5 },
      ...{ dataset: 'shapes10', split: 'validation', version: '9.9.9', commit: 'c0ffee', dirty: false },
      ...{ adapter: 'an adapter', date: statSync(join(path, 'history.json')).mtime.toISOString() },
      columns: ['flops', 'accuracy', 'ema_accuracy', 'train_loss'],
      curve: [
        [1e12, 0.4321, null, 1.2346],
        [2e12, 0.4321, 0.5, 1.2346],
      ],
    });
    expect(readdirSync(join(out, 'record-1'))).toEqual(['depth=1.json']);
  });

  it('is small, and names no commit if another process trained the run', async () => {
    const run = await planned();
    const out = fresh();
    new Results(out, 'a', { commit, init: null }).write(run, leaveRun(run, 100), false);
    const file = join(out, 'a', 'depth=1.json');
    expect(statSync(file).size).toBeLessThan(8000);
    expect(read(file)).toMatchObject({ commit: null, dirty: null, split: 'test', init: null });
    expect(readFileSync(file, 'utf8')).not.toContain('/home/a');
  });

  it('has the settings that differ from the defaults, and a command line of the same run', () => {
    expect(changedSettings(resolveSettings())).toEqual({});
    const settings = resolveSettings({ depth: 3, amp: true, shuffle: false, dataset: '/home/a/my data' });
    const changed = changedSettings(settings);
    expect(changed).toEqual({ depth: 3, amp: true, shuffle: false, dataset: 'my data' });
    const command = trainCommand(changed, null);
    expect(command.split(' ').slice(0, 2)).toEqual(['node', 'dist/train.js']);
    for (const flag of ['--depth 3', '--amp', '--no-shuffle', "--dataset 'my data'"])
      expect(command).toContain(flag);
  });

  it('is taken for done only with the settings of the run', async () => {
    const run = await planned();
    const results = new Results(fresh(), 'a', { commit, init: null });
    expect(results.has(run)).toBe(false);
    results.write(run, leaveRun(run), true);
    expect(results.has(run)).toBe(true);
    const longer = await planned({ epochs: 7 });
    expect(results.has(longer)).toBe(false);
    expect(() => results.demandOwn([run, longer])).not.toThrow();
    expect(results.has(onRung(run, 1))).toBe(false); // it has a file of its own
  });

  it.each([
    ['of other settings', async () => changedSettings((await planned({ learningRate: 0.5 })).settings)],
    ['of settings that are none', async () => ({ depht: 3 })],
    ['of something else', async () => undefined],
  ])('%s is not replaced', async (_, settings) => {
    const out = fresh();
    const content = { settings: await settings() };
    leave(join(out, 'a', 'depth=1.json'), content);
    const results = new Results(out, 'a', { commit, init: null });
    const run = await planned();
    expect(() => results.demandOwn([run])).toThrow(ConfigError);
    expect(() => results.demandOwn([run])).toThrow(
      /depth=1\.json is the result of a run with other settings\./,
    );
  });

  it('needs a folder', async () => {
    const out = fresh();
    leave(out, 'a file');
    const results = new Results(out, 'a', { commit, init: null });
    const run = await planned();
    expect(() => results.demandOwn([run])).toThrow(`--results ${out} is a file. Name a folder.`);
    expect(() => results.write(run, leaveRun(run), true)).toThrow(/The folder .* cannot be created \(E/);
  });
});

describe('the commit', () => {
  const git = (cwd: string, ...args: string[]) => {
    const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org'];
    const { status, stdout, stderr } = spawnSync('git', [...who, ...args], { cwd, encoding: 'utf8' });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    return stdout.trim();
  };

  it('is that of the checkout, and says if tracked files have changes', () => {
    const path = fresh();
    leave(join(path, 'a.txt'), 'a');
    leave(join(path, 'node_modules', 'package', 'b.txt'), 'b');
    expect(commitOfPackage(path)).toBe(null);
    git(path, 'init', '-q', '-b', 'main');
    expect(commitOfPackage(path)).toBe(null); // no commit yet
    git(path, 'add', 'a.txt');
    git(path, 'commit', '-q', '-m', 'first');
    const head = git(path, 'rev-parse', 'HEAD');
    expect(commitOfPackage(path)).toEqual({ commit: head, dirty: false });
    expect(commitOfPackage(join(path, 'node_modules', 'package'))).toBe(null);
    leave(join(path, 'a.txt'), 'b');
    expect(commitOfPackage(path)).toEqual({ commit: head, dirty: true });
  });
});

describe('the command', () => {
  withBuild();
  const run = (program: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [`dist/${program}.js`, ...args], {
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  const tiny =
    '--dataset shapes10 --limit-train 100 --val-split 20 --embed_dim 16 --num_heads 2 --patch_size 16 --batch_size 40 --epochs 2 --ema-decay 0.9 --quiet'.split(
      ' ',
    );

  it.each([
    [['--label', 'a'], 2, /--label names a folder of --results\. Add --results DIR\./],
    [['--results', 'x', '--label', '../a'], 2, /--label must be letters, .* not "\.\.\/a"\./],
    [['--results', 'package.json'], 1, /--results package\.json is a file\. Name a folder\./],
  ])('%j is refused', (args, code, says) => {
    const output = fresh();
    const result = run('sweep', '--grid', 'depth=1', '--output', output, ...tiny, ...args);
    expect(result.err).toMatch(says);
    expect(result.code).toBe(code);
    expect(existsSync(output)).toBe(false);
  });

  it('writes a file for each finished run, again if it is gone, and the file repeats the run', () => {
    const [output, results] = [join(fresh(), 'mine'), fresh()];
    const args = ['--grid', 'depth=1', '--seeds', '2', '--output', output, '--results', results, ...tiny];
    expect(run('sweep', ...args).err).toBe('');
    const files = ['depth=1,seed=43.json', 'depth=1.json'];
    expect(readdirSync(join(results, 'mine')).sort()).toEqual(files);
    const [second, first] = files.map((name) => join(results, 'mine', name)) as [string, string];
    const history = read(join(output, 'depth=1', 'history.json'));
    const written = read(first);
    const points = history.map((it: Record<string, number>) => [
      ...[it.val_accuracy, it.ema_val_accuracy, Number(it.train_loss!.toPrecision(5))],
    ]);
    expect(written.curve.map((point: unknown[]) => point.slice(1))).toEqual(points);
    expect(read(second)).toMatchObject({ seed: 43, configuration: 'depth=1', settings: { seed: 43 } });

    rmSync(first);
    const kept = readFileSync(second, 'utf8');
    expect(run('sweep', ...args).code).toBe(0);
    expect(read(first)).toEqual({ ...written, commit: null, dirty: null });
    expect(readFileSync(second, 'utf8')).toBe(kept);

    const again = fresh();
    expect(run('train', '--config', second, '--output', again, '--quiet').code).toBe(0);
    const timeless = (file: string) =>
      read(file).map(({ seconds: _, ...it }: object & { seconds: number }) => it);
    expect(timeless(join(again, 'history.json'))).toEqual(
      timeless(join(output, 'depth=1,seed=43', 'history.json')),
    );
  });
});
