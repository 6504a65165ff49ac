/** Sweeps with several seeds and with rungs: their runs, what is kept, what is compared, refusals, and going on. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { describeDataset } from '../src/data/named.js';
import { resolveSettings } from '../src/recipe/settings.js';
import { sweepMarkdown, sweepPage, sweepTable } from '../src/report/sweep.js';
import { planText } from '../src/report/sweep_plan.js';
import { costOf } from '../src/sweeps/budget.js';
import { type Configuration, crossProduct, parseAxis } from '../src/sweeps/grid.js';
import { type PlannedRun, planRun } from '../src/sweeps/plan.js';
import { checkRungs, keepBest, onRung, parseRungs, type Stage } from '../src/sweeps/rungs.js';
import { inSeeds } from '../src/sweeps/seeds.js';
import { type ConfigurationRow, spreadOf, summarise, unequalSeeds } from '../src/sweeps/summary.js';
import type { SweepRow } from '../src/sweeps/table.js';
import { sleep, withBuild } from './faults/commands.js';
import { scratch } from './faults/common.js';

const folder = scratch('rungs');
const path = (...names: string[]) => join(folder, ...names);

const small = { dataset: 'shapes10', embedDim: 16, depth: 1, numHeads: 2, patchSize: 8 };
const plan = (grid: string): Promise<PlannedRun[]> => {
  const images = async () => describeDataset('shapes10')!;
  return Promise.all(crossProduct([parseAxis(grid)]).map((it) => planRun(it, [small], images)));
};

/** A finished run of `configuration`. */
const row = (configuration: string, last: number | null, more: Partial<SweepRow> = {}): SweepRow => ({
  ...{ name: configuration, configuration, rung: null, seed: 42, changes: {}, status: 'finished' },
  ...{ error: null, parameters: 12345, mflops: 6.789, best_accuracy: last, last_accuracy: last },
  ...{
    last_ema_accuracy: null,
    train_loss: 1.5,
    epochs: 3,
    seconds: 10,
    images_per_second: 100,
    flops: 2e13,
  },
  ...more,
});

describe('several seeds', () => {
  it('are outermost, and the first keeps the name of a sweep with one', async () => {
    const once = await plan('depth=1,2');
    expect(inSeeds(once, 1)).toEqual(once);
    const runs = inSeeds(once, 3);
    expect(runs.map(({ name }) => name)).toEqual([
      ...['depth=1', 'depth=2', 'depth=1,seed=43', 'depth=2,seed=43', 'depth=1,seed=44', 'depth=2,seed=44'],
    ]);
    expect(runs.map(({ settings }) => settings.seed)).toEqual([42, 42, 43, 43, 44, 44]);
    expect(runs.map(({ configuration }) => configuration)).toEqual(
      [1, 2, 1, 2, 1, 2].map((depth) => `depth=${depth}`),
    );
  });

  it('are refused beside a seed of their own, and beyond the largest', async () => {
    expect(() => inSeeds([], 2)).not.toThrow();
    const own = await plan('seed=1,2');
    expect(() => inSeeds(own, 2)).toThrow(
      'seed=1 sets the seed, and so do the 2 seeds of each configuration.',
    );
    const [run] = (await plan('depth=1')) as [PlannedRun];
    const late = { ...run, settings: { ...run.settings, seed: 0xfffffffe } };
    expect(inSeeds([late], 2)).toHaveLength(2);
    expect(() => inSeeds([late], 3)).toThrow('3 seeds from 4294967294 on exceed 4294967295.');
  });

  it('have a mean and the standard deviation of a sample', () => {
    expect(spreadOf([])).toBe(null);
    expect(spreadOf([0.5])).toEqual({ mean: 0.5, deviation: null });
    expect(spreadOf([2, 4, 4, 4, 5, 5, 7, 9])).toEqual({ mean: 5, deviation: Math.sqrt(32 / 7) });
  });
});

describe('the comparison of configurations with several seeds', () => {
  const seeds = (name: string, ...accuracies: (number | null)[]): SweepRow[] =>
    accuracies.map((last, i) =>
      row(name, last, {
        ...{ name: i === 0 ? name : `${name},seed=${42 + i}`, seed: 42 + i },
        ...{ last_ema_accuracy: last && last + 0.01, best_accuracy: last && last + 0.02 },
        ...(last === null ? { status: 'failed' as const, error: 'the loss is NaN.' } : {}),
      }),
    );

  it('is a row for each, with mean, standard deviation and the number of seeds', () => {
    const rows = [...seeds('a', 0.5, 0.52, 0.54), ...seeds('b', 0.6, 0.6, 0.6)];
    const text = sweepMarkdown('Sweep: x', rows);
    expect(text).toMatch(
      /^\| configuration \| seeds finished \| parameters \| MFLOPs an image \| +best accuracy \| +last accuracy \| last EMA accuracy \| PFLOP \|/m,
    );
    expect(text).toMatch(
      /^\| a +\| 3 of 3 +\| +12,345 \| +6\.8 \| 54\.00 ± 2\.00 % \| 52\.00 ± 2\.00 % \| +53\.00 ± 2\.00 % \| +0\.02 \|/m,
    );
    expect(text).toMatch(/^\| b +\| 3 of 3 .* 60\.00 ± 0\.00 % /m);
    expect(text).toContain('the standard deviation of a sample (n - 1)');
    expect(text).not.toContain('unequal');
  });

  it('says in words where the numbers of finished seeds differ', async () => {
    const rows = [...seeds('a', 0.5, 0.52), ...seeds('b', 0.6, null), ...seeds('c', 0.7, 0.8)];
    const sentence = 'The configurations have unequal numbers of finished seeds: 2 (a; c), 1 (b).';
    expect(unequalSeeds(summarise(rows))).toEqual([sentence]);
    expect(sweepTable(rows)).toContain(sentence);
    expect(sweepMarkdown('Sweep: x', rows)).toContain(`- ${sentence}\n- b,seed=43: the loss is NaN.`);
    const page = await sweepPage('Sweep: x', rows);
    expect(page).toContain(`<p>${sentence}</p>`);
    expect(page.match(/<svg /g)).toHaveLength(4); // one against PFLOP
    expect(page).not.toMatch(/NaN[",]|undefined/);
  });

  it('has no figure that one of its seeds lacks', () => {
    const [summary] = summarise([...seeds('a', 0.5), row('a', 0.6, { name: 'a,seed=43', flops: null })]);
    expect(summary).toMatchObject({ seeds: 2, finished: 2, last_ema_accuracy: null, flops: null });
    expect(summary?.last_accuracy?.mean).toBeCloseTo(0.55, 12);
  });

  it('keeps rungs apart', () => {
    const rows = [row('a', 0.5, { rung: 1 }), row('b', 0.6, { rung: 1 }), row('b', 0.7, { rung: 2 })];
    const of = ({ rung, configuration }: ConfigurationRow) => `${rung} ${configuration}`;
    expect(summarise(rows).map(of)).toEqual(['1 a', '1 b', '2 b']);
    expect(sweepTable(rows)).toMatch(/^\| rung \| configuration /);
    expect(unequalSeeds(summarise(rows))).toEqual([]);
  });
});

describe('rungs', () => {
  it('have settings, seeds and the number of configurations that they keep', () => {
    expect(parseRungs(['epochs=2,keep=8', 'lr=0.01,max-steps=50,seeds=3'])).toEqual([
      { number: 1, text: 'epochs=2,keep=8', settings: { epochs: 2 }, seeds: 1, keep: 8 },
      {
        ...{ number: 2, text: 'lr=0.01,max-steps=50,seeds=3', seeds: 3, keep: null },
        settings: { learningRate: 0.01, maxSteps: 50 },
      },
    ]);
  });

  it.each([
    [['epochs=2'], null],
    [['epochs'], '--rung epochs must be settings and their values, and keep or seeds, such as'],
    [['epochs=2,'], '--rung epochs=2, must be settings and their values'],
    [['epochs=two'], '--rung epochs=two: epochs is a number, not "two".'],
    [['epoch=2'], '--rung epoch=2: there is no setting called epoch;'],
    [['epochs=1,epochs=2'], 'epochs is given twice.'],
    [['lr=1,learning_rate=2'], 'learning_rate is given twice.'],
    [['epochs=1,keep=0', 'epochs=2'], 'keep must be a whole number from 1 to 999999, not "0".'],
    [['epochs=1,seeds=1.5'], 'seeds must be a whole number from 1 to 999999, not "1.5".'],
    [['epochs=1', 'epochs=2'], '--rung epochs=1 does not say how many configurations the next rung trains.'],
    [['epochs=1,keep=2', 'epochs=2,keep=1'], '--rung epochs=2,keep=1 is the last rung'],
  ])('%j: %s', (texts, says) => {
    const parse = () => parseRungs(texts);
    if (says === null) expect(parse).not.toThrow();
    else expect(parse).toThrow(says);
  });

  it('keep no more than they train, and leave alone what the configurations set', () => {
    const four: Configuration[] = [1, 2, 3, 4].map((depth) => ({
      name: `depth=${depth}`,
      changes: { depth },
    }));
    const check = (...texts: string[]) => checkRungs(parseRungs(texts), four);
    expect(() => check('epochs=1,keep=4', 'epochs=2,keep=4', 'epochs=3')).not.toThrow();
    expect(() => check('epochs=1,keep=5', 'epochs=2')).toThrow(
      '--rung epochs=1,keep=5 trains 4 configurations and cannot keep 5.',
    );
    expect(() => check('epochs=1,keep=2', 'epochs=2,keep=3', 'epochs=3')).toThrow('trains 2 configurations');
    expect(() => check('depth=2')).toThrow('--rung depth=2 sets depth, and so does depth=1. Leave one out.');
  });

  it.each<[string, SweepRow[], number, string[]]>([
    ['the most accurate', [row('a', 0.1), row('b', 0.3), row('c', 0.2)], 2, ['b', 'c']],
    ['the earlier of equals', [row('a', 0.1), row('b', 0.2), row('c', 0.2)], 1, ['b']],
    ['by the EMA where it is better', [row('a', 0.3), row('b', 0.1, { last_ema_accuracy: 0.4 })], 1, ['b']],
    ['by the weights where they are', [row('a', 0.3), row('b', 0.4, { last_ema_accuracy: 0.1 })], 1, ['b']],
    [
      'by the last evaluation, not the best',
      [row('a', 0.1, { best_accuracy: 0.9 }), row('b', 0.2)],
      1,
      ['b'],
    ],
    ['by the mean of the seeds', [row('a', 0.5), row('b', 0.4), row('a', 0.1), row('b', 0.3)], 1, ['b']],
    [
      'none with an unfinished seed',
      [row('a', 0.5), row('a', 0.9, { status: 'failed' }), row('b', 0.1)],
      2,
      ['b'],
    ],
    ['none that was never evaluated', [row('a', null), row('b', 0.1)], 2, ['b']],
  ])('keep %s', (_, rows, keep, names) => {
    const all = [...new Set(rows.map(({ configuration }) => configuration))];
    expect(keepBest(rows, all, keep)).toEqual(names);
  });
});

describe('the cost of a plan', () => {
  const stagesOf = async (limits: readonly number[]): Promise<Stage[]> => {
    const runs = (await plan('depth=1,2,3')).map((run, i) => {
      const settings = { ...resolveSettings(run.settings), maxFlops: limits[i] as number };
      return { ...run, settings };
    });
    const rungs = parseRungs(['epochs=1,keep=2', 'epochs=2,seeds=3']);
    return rungs.map((rung, i) => ({
      ...{ rung, configurations: i === 0 ? 3 : 2, seeds: rung.seeds },
      runs: inSeeds(
        runs.map((run) => onRung(run, rung.number)),
        rung.seeds,
      ),
    }));
  };

  it('is that of all runs, and the most that a later rung may keep', async () => {
    const stages = await stagesOf([1e13, 2e13, 3e13]);
    expect(stages.map(costOf)).toEqual([
      { runs: 3, flops: 6e13 },
      { runs: 6, flops: 1.5e14 }, // three seeds of each of the two largest
    ]);
    const text = planText(stages);
    expect(text).toMatch(/^\| 1: epochs=1,keep=2 +\| +3 \| +1 \| +3 \| +0\.06 \|$/m);
    expect(text).toMatch(/^\| 2: epochs=2,seeds=3 +\| +2 \| +3 \| +6 \| +0\.15 \|$/m);
    expect(text).toMatch(/^\| together +\| +- \| +- \| +9 \| +0\.21 \|$/m);
  });

  it('is unknown where a run has no limit', async () => {
    expect((await stagesOf([1e13, 0, 3e13])).map(costOf)).toEqual([
      { runs: 3, flops: null },
      { runs: 6, flops: null },
    ]);
  });
});

describe('the command', () => {
  withBuild();
  const tiny =
    '--dataset shapes10 --limit-train 100 --val-split 20 --embed_dim 16 --num_blocks 1 --num_heads 2 --batch_size 40'.split(
      ' ',
    );
  const sweep = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['dist/sweep.js', ...args], {
      encoding: 'utf8',
    });
    return { code: status, out: stdout, err: stderr };
  };
  interface Table {
    readonly runs: SweepRow[];
    readonly configurations?: ConfigurationRow[];
  }
  const tableOf = (name: string): Table => JSON.parse(readFileSync(path(name, 'sweep.json'), 'utf8'));
  const names = (name: string) => tableOf(name).runs.map((run) => run.name);

  it.each([
    ['--grid depth=1 --seeds 0', 2, /--seeds must be a whole number from 1, not 0\./],
    ['--grid depth=1 --seeds 1.5', 2, /--seeds must be a whole number from 1, not 1\.5\./],
    ['--grid depth=1 --seeds 2 --rung epochs=1', 2, /--seeds does not go with --rung\. Say it in a rung/],
    ['--study width --rung epochs=1', 2, /--rung does not go with --study/],
    ['--grid depth=1 --rung epochs=0', 1, /depth=1: --epochs must be at least 1, not 0/],
    ['--grid depth=1 --epochs 3 --rung epochs=1', 1, /--epochs has no effect: every rung sets it/],
    ['--grid seed=1,2 --seeds 2', 1, /seed=1 sets the seed, and so do the 2 seeds/],
    ['--grid depth=1 --rung epochs=1,keep=2 --rung epochs=2', 1, /trains 1 configurations and cannot keep 2/],
  ])('%s is refused', (args, code, says) => {
    const result = sweep('--plan', ...args.split(' '));
    expect(result.err).toMatch(says);
    expect(result.err.trim().split('\n')).toHaveLength(1);
    expect(result.code).toBe(code);
  });

  it('prints the numbers of runs before it trains', () => {
    const { out } = sweep('--plan', '--grid', 'depth=1,2', '--seeds', '3', ...tiny.filter((_, i) => i < 2));
    expect(out).toMatch(/^\| runs \| configurations \| seeds \| runs \| PFLOP at most \|$/m);
    expect(out).toMatch(/^\| all +\| +2 \| +3 \| +6 \| +- \|$/m);
  });

  it('adds seeds to a sweep that had one', () => {
    const args = [
      '--grid',
      'patch_size=8,16',
      '--epochs',
      '1',
      '--quiet',
      '--output',
      path('seeds'),
      ...tiny,
    ];
    expect(sweep(...args).code).toBe(0);
    expect(tableOf('seeds').configurations).toBe(undefined);
    const kept = readFileSync(path('seeds', 'patch_size=8', 'history.json'), 'utf8');
    const more = sweep(...args, '--seeds', '2');
    expect(more.err).toBe('');
    expect(more.code).toBe(0);
    expect(readFileSync(path('seeds', 'patch_size=8', 'history.json'), 'utf8')).toBe(kept);
    expect(names('seeds')).toEqual(
      ['', ',seed=43'].flatMap((seed) => [8, 16].map((size) => `patch_size=${size}${seed}`)),
    );
    const { runs, configurations } = tableOf('seeds');
    expect(runs.map(({ seed, status }) => [seed, status])).toEqual(
      [42, 42, 43, 43].map((seed) => [seed, 'finished']),
    );
    for (const [i, found] of configurations!.entries()) {
      const accuracies = [runs[i], runs[i + 2]].map((run) => run!.last_accuracy as number);
      expect(found).toMatchObject({ seeds: 2, finished: 2, last_accuracy: spreadOf(accuracies) });
    }
    expect(more.out).toMatch(/^\| patch_size=8 +\| 2 of 2 /m);
  });

  it('trains the best anew, and goes on where it was stopped', async () => {
    const rates = ['0.0001', '0.01', '1e30']; // the last one diverges
    const args = [
      ...['dist/sweep.js', '--grid', `learning_rate=${rates.join()}`, '--output', path('halved'), ...tiny],
      ...['--patch_size', '16', '--rung', 'epochs=2,keep=1', '--rung', 'epochs=4,seeds=2,seed=7'],
    ];
    const running = spawn(process.execPath, args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => running.on('close', resolve));
    const first = path('halved', 'rung-1', 'learning_rate=0.0001', 'history.json');
    for (let i = 0; i < 2000 && !existsSync(first); i++) await sleep(0.02);
    running.kill('SIGTERM');
    expect(await ended).toBe(143);
    expect(readdirSync(path('halved')).filter((name) => name.startsWith('rung'))).toEqual(['rung-1']);

    const { code, out, err } = sweep(...args.slice(1));
    expect(err).toMatch(/^patchlight: rung-1\/learning_rate=1e\+30 failed: Step \d+: /);
    expect(code).toBe(1); // as in every sweep with a failed run
    const [slow, fast] = tableOf('halved').runs as [SweepRow, SweepRow];
    const best = (slow.last_accuracy as number) < (fast.last_accuracy as number) ? fast : slow;
    expect(out).toContain(`Rung 1 keeps 1 of 3 configurations: ${best.configuration}\n`);
    expect(out).toContain(`[rung 2: 1/2] rung-2/${best.configuration}\n`);
    const runs = tableOf('halved').runs.map(({ name, status, seed, epochs }) => [name, status, seed, epochs]);
    expect(runs.slice(0, 2)).toEqual(
      ['0.0001', '0.01'].map((rate) => [`rung-1/learning_rate=${rate}`, 'finished', 42, 2]),
    );
    expect(runs.slice(3)).toEqual([
      [`rung-2/${best.configuration}`, 'finished', 7, 4],
      [`rung-2/${best.configuration},seed=8`, 'finished', 8, 4],
    ]);
    const before = readFileSync(path('halved', 'sweep.md'), 'utf8');
    const again = sweep(...args.slice(1));
    expect(again.out).toMatch(/^\[rung 2: 2\/2\] rung-2\/.*: finished before$/m);
    expect(readFileSync(path('halved', 'sweep.md'), 'utf8')).toBe(before);
  });
});
