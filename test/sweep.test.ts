/** Sweeps: the runs of a grid, a list and a study, refusals before anything runs, interruption and continuation. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commandLine, settingFlags, settingOptions, typedSettings } from '../src/cli/arguments.js';
import { describeDataset } from '../src/data/named.js';
import { trainingImages } from '../src/data/sources.js';
import { presets } from '../src/recipe/presets.js';
import { resolveSettings, type Settings } from '../src/recipe/settings.js';
import { sweepMarkdown, sweepPage } from '../src/report/sweep.js';
import { planText } from '../src/report/sweep_plan.js';
import { flopsOfEpoch } from '../src/sweeps/budget.js';
import { crossProduct, parseAxis, parseList } from '../src/sweeps/grid.js';
import { type PlannedRun, planRun } from '../src/sweeps/plan.js';
import { atEqualFlops, configurationsOf, flopsBudget, studies, studyNamed } from '../src/sweeps/studies.js';
import type { SweepRow } from '../src/sweeps/table.js';
import { withBuild } from './faults/commands.js';

const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = (...names: string[]) => join(folder, ...names);

const shapes10 = async () => describeDataset('shapes10')!;
const small = { dataset: 'shapes10', embedDim: 16, depth: 1, numHeads: 2, patchSize: 8 };
const plan = (...grid: string[]): Promise<PlannedRun[]> =>
  Promise.all(crossProduct(grid.map(parseAxis)).map((it) => planRun(it, [small], shapes10)));

describe('a grid', () => {
  it.each([
    ['patch_size=2,4,8', 'patchSize', [2, 4, 8]],
    ['patch-size=2', 'patchSize', [2]],
    ['patchSize=2', 'patchSize', [2]],
    ['num_heads=3', 'numHeads', [3]],
    ['num_blocks=3,6', 'depth', [3, 6]],
    ['lr=1e-3,.01', 'learningRate', [0.001, 0.01]],
    ['shuffle=true,false', 'shuffle', [true, false]],
    ['pool=cls,mean', 'pool', ['cls', 'mean']],
    ['beta2=0.99', 'beta2', [0.99]],
  ])('%s has values of the type of the setting', (text, name, values) => {
    expect(parseAxis(text)).toEqual({ name, values });
  });

  it.each([
    ['patchsize=2', '--grid patchsize=2: there is no setting called patchsize;'],
    ['toString=1', 'there is no setting called toString;'],
    ['depth', '--grid depth must be a setting and its values, such as patch_size=2,4,8.'],
    ['depth=', '--grid depth= must be a setting and its values'],
    ['depth=3,', '--grid depth=3,: depth is a number, not "".'],
    ['depth=three', 'depth is a number, not "three".'],
    ['shuffle=no', 'shuffle is a boolean, not "no".'],
    ['depth=Infinity', 'depth is a number, not "Infinity".'],
    ['seed=1e999', 'seed is a number, not "1e999".'],
  ])('%s is refused', (text, says) => {
    expect(() => parseAxis(text)).toThrow(says);
  });

  it('of two settings is every combination, named by both', () => {
    expect(crossProduct([parseAxis('patch_size=4,8'), parseAxis('dataset=cifar10,a/b')])).toEqual([
      { name: 'patch_size=4,dataset=cifar10', changes: { patchSize: 4, dataset: 'cifar10' } },
      { name: 'patch_size=4,dataset=a_b', changes: { patchSize: 4, dataset: 'a/b' } },
      { name: 'patch_size=8,dataset=cifar10', changes: { patchSize: 8, dataset: 'cifar10' } },
      { name: 'patch_size=8,dataset=a_b', changes: { patchSize: 8, dataset: 'a/b' } },
    ]);
    expect(() => crossProduct([parseAxis('depth=1'), parseAxis('num_blocks=2')])).toThrow(
      '--grid depth is given twice',
    );
  });

  it('of more combinations than anybody trains is refused before they are made', () => {
    const many = (name: string) => parseAxis(`${name}=${Array.from({ length: 1000 }, (_, i) => i).join()}`);
    expect(() => crossProduct(['seed', 'epochs', 'patience'].map(many))).toThrow(
      'the grids make 1000000000 configurations; a sweep has at most 10000.',
    );
  });
});

describe('a list', () => {
  it('takes settings in any spelling, and a name', () => {
    const list = [{ embed_dim: 48, 'num-heads': 3 }, { name: 'deep', depth: 6 }, {}];
    expect(parseList('list.json', list)).toEqual([
      { name: 'embed_dim=48,num_heads=3', changes: { embedDim: 48, numHeads: 3 } },
      { name: 'deep', changes: { depth: 6 } },
      { name: 'base', changes: {} },
    ]);
  });

  it.each([
    [{}, 'list.json must hold a JSON array'],
    [[], 'list.json must hold a JSON array'],
    [[3], 'list.json, configuration 1 must be an object of settings.'],
    [[{}, { depht: 3 }], 'list.json, configuration 2: there is no setting called depht;'],
    [[{ name: '../out' }], 'its name must be letters, digits and _ = , . + -, not "../out".'],
    [[{ name: '..' }], 'not "..".'],
    [[null], 'list.json, configuration 1 must be an object of settings.'],
  ])('%j is refused', (list, says) => {
    expect(() => parseList('list.json', list)).toThrow(says);
  });
});

describe('a study', () => {
  it.each(Object.entries(studies))('%s has configurations that can be, and differ', async (_, study) => {
    const layers = [presets[study.preset]!.settings, study.budget];
    const all = configurationsOf(study, resolveSettings(...layers));
    const planned = await Promise.all(all.map((it) => planRun(it, layers, shapes10)));
    expect(planned.length).toBeGreaterThan(1);
    expect(new Set(planned.map(({ settings }) => JSON.stringify(settings))).size).toBe(planned.length);
  });

  it('follows what it starts from', () => {
    const base = resolveSettings({ embedDim: 256, numHeads: 4, ffnDim: 512, epochs: 20 });
    const changes = (name: string) => configurationsOf(studyNamed(name), base).map((it) => it.changes);
    expect(changes('width')).toEqual([{ embedDim: 256 }, { embedDim: 128, ffnDim: 256 }]);
    expect(changes('warmup')).toEqual([{ warmupEpochs: 0 }, { warmupEpochs: 2 }]);
    expect(changes('augmentation')).toEqual([{ augment: 'none' }, { augment: 'flip-crop' }]);
    const alternating = configurationsOf(studyNamed('augmentation'), { ...base, flip: 'alternating' });
    // Without flips, none can alternate.
    expect(alternating[0]?.changes).toEqual({ augment: 'none', flip: 'random' });
    expect(() => studyNamed('toString')).toThrow(
      'There is no study called toString. Choose one of patch-size,',
    );
  });
});

describe('a study at equal FLOPs', () => {
  const start = { ...presets.quickstart!.settings, warmupEpochs: 0.5, flip: 'random' };
  const base = resolveSettings(start, flopsBudget(studyNamed('patch-size')));
  const budgetOf = (name: string) => flopsBudget(studyNamed(name)).epochs as number;
  /** A patch of half the side costs four times as much. */
  const epochsFor = async ({ patchSize = 4 }: Partial<Settings>) => patchSize ** 2 / 8;
  const of = (name: string, keepsWarmup = false) =>
    atEqualFlops(studyNamed(name), base, { keepsWarmup, epochsFor });

  it('has no limit of epochs', () => {
    expect(base.warmupEpochs).toBe(0.5);
    for (const name of Object.keys(studies)) expect(budgetOf(name)).toBeGreaterThan(1e5);
  });

  it('warms up for the same share of each run', async () => {
    // Half an epoch of ten is a twentieth.
    expect(await of('patch-size')).toEqual([
      { name: 'patch_size=2', changes: { patchSize: 2, warmupEpochs: 0.025 } },
      { name: 'patch_size=4', changes: { patchSize: 4, warmupEpochs: 0.1 } },
      { name: 'patch_size=8', changes: { patchSize: 8, warmupEpochs: 0.4 } },
    ]);
    // Half an epoch of thirty is a sixtieth.
    expect(await of('augmentation')).toEqual([
      { name: 'augment=none', changes: { augment: 'none', warmupEpochs: 0.0333 } },
      { name: 'augment=flip-crop', changes: { augment: 'flip-crop', warmupEpochs: 0.0333 } },
    ]);
    expect((await of('width')).map(({ name }) => name)).toEqual(['embed_dim=96', 'embed_dim=48']);
  });

  it('studies warm-ups of no length and of a tenth of the run', async () => {
    for (const keepsWarmup of [false, true])
      expect(await of('warmup', keepsWarmup)).toEqual([
        { name: 'warmup_epochs=0', changes: { warmupEpochs: 0 } },
        { name: 'warmup_epochs=0.2', changes: { warmupEpochs: 0.2 } },
      ]);
  });

  it('keeps a warm-up that was asked for, and epochs that end the run first', async () => {
    expect((await of('patch-size', true)).map(({ changes }) => changes)).toEqual(
      [2, 4, 8].map((patchSize) => ({ patchSize })),
    );
    const short = { ...base, epochs: 4 };
    const all = await atEqualFlops(studyNamed('patch-size'), short, { keepsWarmup: false, epochsFor });
    expect(all.map(({ changes }) => changes.warmupEpochs)).toEqual([0.025, 0.1, 0.2]);
  });

  it('knows what an epoch costs without reading images', () => {
    expect(['cifar10', 'cifar100', 'shapes10'].map(trainingImages)).toEqual([50_000, 50_000, 10_000]);
    expect(() => trainingImages('/nope')).toThrow('/nope is not a folder');
    expect(flopsOfEpoch(7, 50_000)).toBe(3 * 7e6 * 5e4);
  });
});

it.each<[string, Partial<Settings>]>([
  ...Object.entries(presets).map(([name, { settings }]): [string, Partial<Settings>] => [name, settings]),
  ['without shuffling', { shuffle: false, learningRate: 1e-7, dataDir: '/data sets/a=b' }],
])('flags say all settings: %s', (_, settings) => {
  const { argv } = process;
  const resolved = resolveSettings(settings);
  process.argv = ['node', 'train.js', ...settingFlags(resolved)];
  const parsed = commandLine('', settingOptions()).parseSync() as Record<string, unknown>;
  process.argv = argv;
  expect(resolveSettings(typedSettings(parsed))).toEqual(resolved);
});

describe('a plan', () => {
  it('counts parameters and operations', async () => {
    const planned = await plan('patch_size=8,16');
    // 16 tokens and the class token, or 4 and the class token. Positions, patches, block, norm, head.
    const block = 4 * 16 + (48 * 16 + 48) + (16 * 16 + 16) + (64 * 16 + 64) + (16 * 64 + 16);
    const rest = 16 + 16 + 32 + (160 + 10);
    expect(planned.map(({ parameters }) => parameters)).toEqual([
      17 * 16 + 192 * 16 + block + rest,
      5 * 16 + 768 * 16 + block + rest,
    ]);
    const stage = { rung: null, configurations: 2, seeds: 1, runs: planned };
    expect(planText([stage])).toMatch(/^\| patch_size=8 +\| +6,\d{3} \| +\d+\.\d \|$/m);
  });

  it('names the configuration that cannot be', async () => {
    await expect(plan('patch_size=8,5')).rejects.toThrow(/^patch_size=5: \[vit\] image height 32/);
    await expect(plan('num_heads=2,3')).rejects.toThrow(
      /^num_heads=3: \[vit\] embed_dim 16 must be divisible by the number of heads, 3/,
    );
    await expect(plan('mlp_ratio=0')).rejects.toThrow(/^mlp_ratio=0: /);
  });
});

describe('the comparison', () => {
  const row: SweepRow = {
    ...{ name: 'depth=1', configuration: 'depth=1', rung: null, seed: 42 },
    changes: { depth: 1 },
    status: 'finished',
    error: null,
    parameters: 12345,
    mflops: 6.789,
    best_accuracy: 0.5,
    last_accuracy: 0.4,
    last_ema_accuracy: null,
    train_loss: 1.23456,
    epochs: 3,
    seconds: 12.34,
    images_per_second: 789.1,
    flops: null,
  };
  const failed: SweepRow = {
    ...row,
    ...{ name: 'depth=2', configuration: 'depth=2' },
    changes: { depth: 2 },
    status: 'failed',
    error: 'Step 3: <loss> is NaN.',
    best_accuracy: null,
    last_accuracy: null,
    train_loss: null,
    images_per_second: null,
  };

  it('as Markdown is one table, and what went wrong', () => {
    const text = sweepMarkdown('Sweep: a', [row, failed]);
    const cells = 'depth=1 finished 12,345 6.8 50.00_% 40.00_% 1.2346 3 12.3 789'.split(' ');
    const line = cells.map((cell) => cell.replace('_', ' ').replace(/[.+]/g, '\\$&')).join(' *\\| *');
    expect(text).toMatch(new RegExp(`^\\| ${line} \\|$`, 'm'));
    expect(text).toContain('- depth=2: Step 3: <loss> is NaN.');
  });

  it('as a page is three plots that need nothing else, light and dark', async () => {
    const page = await sweepPage('Sweep: a<b', [
      row,
      failed,
      { ...row, name: 'depth=3', configuration: 'depth=3', changes: { depth: 3 } },
    ]);
    expect(page.match(/<svg /g)).toHaveLength(3);
    expect(page.match(/<td>depth=/g)).toHaveLength(3);
    expect(page).toContain('labelled with depth.');
    expect(page).toContain('depth=2: Step 3: &lt;loss&gt; is NaN.');
    expect(page).toContain('<h1>Sweep: a&lt;b</h1>');
    expect(page).toContain('prefers-color-scheme: dark');
    expect(page).not.toMatch(/<script|(src|href)="(?!data:)|@import|NaN[",]|undefined/);
    for (const name of new Set([...page.matchAll(/"var\((--\w+)\)"/g)].map(([, found]) => found)))
      expect(page).toContain(`${name}:`);
  });

  it('numbers the points where values would be too long for labels', async () => {
    const wide = { ...row, changes: { depth: 1, embedDim: 64 }, parameters: 1e6 };
    const page = await sweepPage('Sweep: a', [row, wide]);
    expect(page).toContain('labelled with their number in the table.');
    expect(page.match(/<text[^>]*>[12]<\/text>/g)?.length).toBeGreaterThanOrEqual(6);
    // Parameters differ by nearly two decades: a logarithmic axis has its powers of ten.
    expect(page).toMatch(/>100k</);
    expect(page).toMatch(/>1M</);
  });

  it('has no plots before the first result', async () => {
    const page = await sweepPage('Sweep: a', [failed]);
    expect(page).not.toContain('<svg');
    expect(page).toContain('<td>depth=2</td>');
  });
});

describe('the command', () => {
  const env = { ...process.env, PATCHLIGHT_DATA: path('no-data') };
  const sweep = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/sweep.js', ...args], {
      encoding: 'utf8',
      env,
    });
    return { code: status, out: stdout, err: stderr };
  };
  const words = (text: string) => text.split(' ').filter(Boolean);
  const tiny = words(
    '--dataset shapes10 --limit-train 100 --val-split 20 --embed_dim 16 --num_blocks 1 --num_heads 2 --patch_size 8 --batch_size 40 --log-interval 1',
  );
  const rows = (name: string): SweepRow[] => JSON.parse(readFileSync(path(name, 'sweep.json'), 'utf8')).runs;

  withBuild();

  it.each([
    ['--plan', 2, /exactly one of --grid, --list and --study/],
    ['--plan --study width --grid depth=1', 2, /exactly one of --grid, --list and --study/],
    ['--grid depth=1', 2, /--output sweeps\/NAME\. Only --plan/],
    ['--plan --grid depth=1 more', 2, /non-option arguments: got 1, maximum of 0/],
    ['--plan --grid depth=1,1', 1, /Two configurations are called depth=1/],
    ['--plan --grid depth=1,2 --depth 3', 1, /--depth has no effect: every configuration sets it/],
    [
      '--plan --study nope',
      1,
      /no study called nope\. Choose one of patch-size, augmentation, warmup, width/,
    ],
    ['--plan --list /nope.json', 1, /\/nope\.json cannot be read \(ENOENT/],
    ['--plan --grid depth=1 --init /nope', 1, /--init \/nope does not exist/],
    [
      '--plan --preset vit-b16 --grid depth=1',
      1,
      /--preset vit-b16 is for images of 224 x 224 pixels; cifar10 has/,
    ],
    [
      '--grid depth=1 --dataset /nope --output x',
      1,
      /is not a folder, and not one of cifar10, cifar100 and shapes10/,
    ],
  ])('%s ends with %i', (args, code, says) => {
    const result = sweep(...words(args));
    expect(result.err).toMatch(says);
    expect(result.err.trim().split('\n')).toHaveLength(1);
    expect(result.code).toBe(code);
  });

  it('plans without any files, flags over the study', () => {
    const { code, out } = sweep('--plan', '--study', 'width', '--embed_dim', '64', '--num_heads', '2');
    expect(code).toBe(0);
    expect(out.match(/embed_dim=\d+/g)).toEqual(['embed_dim=64', 'embed_dim=32']);
  });

  it('takes a warm-up that only the length of the study allows', () => {
    const { code, err } = sweep('--plan', '--study', 'augmentation', '--warmup-epochs', '6');
    expect([code, err]).toEqual([0, '']);
  });

  it('records a run that fails and goes on', () => {
    writeFileSync(path('list.json'), '[{"name": "wild", "lr": 1e30}, {"name": "calm", "lr": 1e-3}]');
    const { code, out, err } = sweep(
      ...['--list', path('list.json'), '--quiet', '--epochs', '2', '--output', path('wild'), ...tiny],
    );
    expect(code).toBe(1);
    expect(err).toMatch(/^patchlight: wild failed: Step \d+: the (loss|gradient norm) is /);
    expect(err.trim().split('\n')).toHaveLength(1);
    expect(rows('wild').map(({ status }) => status)).toEqual(['failed', 'finished']);
    expect(rows('wild')[0]?.error).toMatch(/^Step \d+: .*the last saved state is untouched\.$/);
    const [, calm] = rows('wild') as [SweepRow, SweepRow];
    const history = JSON.parse(readFileSync(path('wild', 'calm', 'history.json'), 'utf8'));
    expect(calm).toMatchObject({
      epochs: 2,
      last_accuracy: history[1].val_accuracy,
      train_loss: history[1].train_loss,
    });
    expect(calm.seconds * (calm.images_per_second as number)).toBeCloseTo(160, 6);
    expect(out).toContain('| calm');
    expect(readdirSync(path('wild')).sort()).toEqual(words('calm sweep.html sweep.json sweep.md wild'));
  });

  it('stops at a signal, saved, and the same command continues', async () => {
    const args = ['--grid', 'patch_size=8,16', '--epochs', '15', '--output', path('cut'), ...tiny];
    const both = args.filter((arg, i) => arg !== '--patch_size' && args[i - 1] !== '--patch_size');
    const running = spawn(process.execPath, ['dist/sweep.js', ...both], { env, stdio: 'ignore' });
    const ended = new Promise((resolve) => running.on('close', resolve));
    while (!existsSync(path('cut', 'patch_size=8', 'history.json')))
      await new Promise((resolve) => setTimeout(resolve, 20));
    running.kill('SIGINT');
    expect(await ended).toBe(130);
    expect(rows('cut').map(({ status }) => status)).toEqual(['stopped', 'waiting']);
    expect(rows('cut')[0]?.epochs).toBeLessThan(15);

    const continued = sweep(...both);
    expect(continued.out).toMatch(
      /^\[1\/2\] patch_size=8\n[\s\S]*Continuing from .*: \d+ steps done[\s\S]*\[2\/2\] patch_size=16\n/,
    );
    expect(continued.code).toBe(0);
    expect(rows('cut').map(({ status, epochs }) => [status, epochs])).toEqual([
      ['finished', 15],
      ['finished', 15],
    ]);

    const again = sweep(...both);
    expect(again.out).toMatch(
      /^\[1\/2\] patch_size=8: finished before\n\[2\/2\] patch_size=16: finished before\n/,
    );
    expect(again.code).toBe(0);
    expect(sweep(...both, '--seed', '7').err).toMatch(/patch_size=8: A continued run .*seed was 42, now 7/);
  });
});
