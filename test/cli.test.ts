/** The command lines as a user meets them: exit codes, sentences instead of stacks, a run and its evaluation. */
import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { generateShapes10 } from '../src/data/shapes10.js';
import { withBuild } from './faults/commands.js';

withBuild();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

function run(command: string, args: readonly string[]) {
  const result = spawnSync(process.execPath, [`dist/${command}.js`, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PATCHLIGHT_DATA: join(folder, 'no-data') },
    timeout: 110_000,
  });
  // Dawn's warnings cannot be dropped if standard error is a socket, as it is between two Node processes.
  const err = result.stderr.replace(/^Warning: maxDynamic.*\n/gm, '');
  return { code: result.status, out: result.stdout, err };
}

const tiny =
  '--dataset shapes10 --limit-train 100 --embed_dim 16 --num_blocks 1 --num_heads 2 --patch_size 8 --batch_size 50'.split(
    ' ',
  );

it.each([
  ['train', '--nope 3', 2, /Unknown argument: nope/],
  ['train', '--epochs abc', 2, /--epochs must be a number, not "abc"/],
  ['train', '--max_steps=', 2, /--max-steps must be a number, not ""/],
  ['train', '--heads= --epochs=1', 2, /--heads must be a number, not ""/],
  ['train', '--no-max-steps', 2, /--no-max-steps is not a flag: --max-steps takes a number/],
  ['train', '--no-preset', 2, /--no-preset is not a flag: --preset takes a value/],
  ['train', '--no-config', 2, /--no-config is not a flag: --config takes a value/],
  ['train', '--no_augment', 2, /--no-augment is not a flag: --augment takes a value/],
  ['train', '--rand-num-ops 1000000000', 1, /--rand-num-ops must be at most 100, not 1000000000/],
  ['compile', '', 2, /Name the file that lists the kernels/],
  ['compile', '--help', 2, /Name the file that lists the kernels/],
  ['compile', '/nope.json', 1, /\/nope\.json cannot be read \(ENOENT/],
  ['compile', 'README.md', 1, /README\.md: /],
  ['train', '--learning-rate=1e999', 1, /--learning-rate must be a finite number, not Infinity/],
  ['train', '--epochs', 2, /Not enough arguments following: epochs/],
  ['train', '--pool max', 2, /Invalid values: Argument: pool/],
  ['train', '--epochs 0', 1, /--epochs must be at least 1/],
  ['train', '--preset nope', 1, /no preset called nope\. Choose one of quickstart/],
  ['train', '--config /nope.json', 1, /\/nope\.json cannot be read \(ENOENT/],
  ['train', '--dataset shapes10 --patch-size 5', 1, /\[vit\] image height 32/],
  ['train', '--dataset shapes10 --init /nope', 1, /--init \/nope does not exist/],
  ['train', '--resume /nope', 1, /\/nope does not exist/],
  ['train', '--resume x --preset quickstart', 2, /Leave out --preset/],
  ['train', '--output=', 2, /--output is empty: give it a value/],
  ['train', '--batch-size abc', 2, /--batch-size must be a number or auto, not "abc"/],
  ['train', '--batch-size auto', 2, /--batch-size auto needs --memory-budget/],
  ['train', '--batch-size auto --memory-budget 99 --resume x', 2, /--resume continues .* Leave out auto/],
  ['train', '--dataset /nope', 1, /is not a folder, and not one of cifar10, cifar100 and shapes10/],
  ['check', '--adapters --adapter 0', 2, /--adapters checks nothing: leave out --adapter\./],
  ['augment', '', 2, /Missing required argument: grid/],
  ['augment', '--grid x.png --rows 0', 2, /--rows must be a positive whole number/],
  ['augment', '--grid x.png --augment nope', 2, /Invalid values/],
  ['evaluate', 'x --batch-size abc', 2, /--batch-size must be a number, not "abc"/],
  ['evaluate', '', 2, /Name a run directory/],
  ['evaluate', 'x --no-weights', 2, /--no-weights is not a flag: --weights takes a value/],
  ['evaluate', 'x --tta crop', 2, /Argument: tta, Given: "crop", Choices: "none", "flip"/],
  ['evaluate', '/nope', 1, /\/nope does not exist/],
  ['evaluate', 'package.json', 1, /package\.json: /],
] as const)('%s %s ends with %i', (command, args, code, says) => {
  const result = run(command, args.split(' ').filter(Boolean));
  expect(result.err).toMatch(says);
  expect(result.err).not.toMatch(/\n\s+at /);
  expect(result.err.trim().split('\n')).toHaveLength(1);
  expect(result.code).toBe(code);
});

it('output and errors in one file keep their places while the adapter is opened', () => {
  const path = join(folder, 'log');
  const file = openSync(path, 'w');
  const script = `const { Gpu } = await import('./dist/index.js');
    const { writeSync } = await import('node:fs');
    writeSync(1, 'one\\n');
    const gpu = await Gpu.open();
    writeSync(2, 'two\\n');
    writeSync(1, 'three\\n');
    gpu.close();`;
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', file, file],
  });
  closeSync(file);
  expect(status).toBe(0);
  const lines = readFileSync(path, 'utf8').replace(/^Warning: maxDynamic.*\n/gm, '');
  expect(lines).toBe('one\ntwo\nthree\n');
});

it('checks end in time, and count the checks that were not run', () => {
  const json = join(folder, 'check.json');
  const { code, out } = run('check', ['--filter', '^gelu ', '--seconds', '1e-9', '--json', json]);
  expect(code).toBe(0);
  const { rows, leftOut } = JSON.parse(readFileSync(json, 'utf8'));
  expect(rows).toEqual([]);
  expect(leftOut.length).toBeGreaterThan(0);
  expect(out).toContain(`${leftOut.length} left out: no time left (${leftOut.length} of gelu)`);
});

it('prints the kernels of known adapters, and writes them to a file', () => {
  const json = join(folder, 'adapters.json');
  const { code, out } = run('check', ['--adapters', '--json', json]);
  expect(code).toBe(0);
  const all: { name: string; source: string; steps: unknown[] }[] = JSON.parse(readFileSync(json, 'utf8'));
  expect(out.match(/^## .*$/gm)?.length).toBe(all.length);
  for (const { name, source, steps } of all) {
    expect(out).toContain(`## ${name}`);
    expect(out).toContain(`Source: ${source}`);
    expect(steps.length).toBeGreaterThanOrEqual(3);
  }
});

it('names the adapters', () => {
  const { code, out } = run('train', ['--list-adapters']);
  expect(code).toBe(0);
  const [, name] = /^0: (.+); (?:CPU|GPU); driver \S.*$/m.exec(out) ?? [];
  expect(name).toBeTruthy();
  const missing = run('train', [...tiny, '--adapter', 'no such adapter']);
  expect(missing.code).toBe(1);
  expect(missing.err).toContain(`There is: 0: ${name}`);
});

it('says before any work what the steps need, and refuses a budget that is too small', () => {
  const output = join(folder, 'budget');
  const train = (...args: string[]) =>
    run('train', [...tiny, '--max-steps', '1', '--output', output, ...args]);
  const refused = train('--memory-budget', '8');
  expect(refused.code).toBe(1);
  expect(refused.err).toMatch(
    /^patchlight: Training with a batch size of 50 needs [\d.]+ MB of device memory; the budget is 8\.0 MB\. Use .*a larger --memory-budget\.\n$/,
  );
  expect(existsSync(output)).toBe(false);
  const { out } = train('--memory-budget', '45', '--batch-size', 'auto');
  const [, size, needed] =
    /^Batch size (\d+), chosen by --batch-size auto; training steps need ([\d.]+) MB of device memory\.$/m.exec(
      out,
    )!;
  expect(Math.log2(Number(size)) % 1).toBe(0);
  expect(Number(needed)).toBeLessThanOrEqual(45);
  const { settings } = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'));
  expect(settings.batchSize).toBe(Number(size));
});

it('trains, and evaluate repeats the accuracy', { tags: ['quick'] }, () => {
  const output = join(folder, 'run');
  const trained = run('train', [...tiny, '--epochs', '2', '--json', '--output', output]);
  expect(trained.err).toBe('');
  expect(trained.code).toBe(0);
  const events = trained.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  const end = events.at(-1);
  expect(end).toMatchObject({ event: 'end', reason: 'finished', run: output });
  expect(run('evaluate', [output, '--no-report']).out).toMatch(
    /ECE [\s\S]*Confusion matrix: a row for each true class/,
  );
  expect(existsSync(join(output, 'report.html'))).toBe(false);
  const evaluated = run('evaluate', [output, '--json', '--tta', 'flip']);
  const result = JSON.parse(evaluated.out);
  expect(result).toMatchObject({
    images: 2000,
    top1: end.best.accuracy,
    tta: { method: 'flip', images: 2000 },
  });
  expect(Object.keys(result.per_class[0])).toEqual(['class', 'images', 'accuracy']);
  expect(result.confusion.flat().reduce((sum: number, n: number) => sum + n, 0)).toBe(2000);
  expect(readFileSync(join(output, 'report.html'), 'utf8')).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/);
  const final = run('evaluate', [
    output,
    '--weights',
    join(output, 'checkpoints', 'final.safetensors'),
    '--json',
    '--report',
    join(folder, 'final.html'),
  ]);
  expect(JSON.parse(final.out)).toEqual(end.last);
  expect(existsSync(join(folder, 'final.html'))).toBe(true);
});

it.each([
  ['by --report', '', /^All 1 epochs done[\s\S]*top-1 [\s\S]*\n\nReport: .*report\.html\n$/m],
  ['in silence', '--quiet', /^$/],
])('ends with a report, %s', (name, more, says) => {
  const output = join(folder, `reported ${name}`);
  const result = run('train', [
    ...tiny,
    ...`--epochs 1 --report ${more}`.trim().split(' '),
    '--output',
    output,
  ]);
  expect(result).toMatchObject({ code: 0, err: '' });
  expect(result.out).toMatch(says);
  expect(readFileSync(join(output, 'report.html'), 'utf8')).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/);
});

it('takes a config file, and continues a run only with its own settings', () => {
  const config = join(folder, 'config.json');
  const output = join(folder, 'configured');
  writeFileSync(config, JSON.stringify({ epochs: 1, seed: 7, labelSmoothing: 0.1 }));
  expect(run('train', [...tiny, '--config', config, '--quiet', '--output', output])).toMatchObject({
    code: 0,
    out: '',
    err: '',
  });
  expect(existsSync(join(output, 'history.json'))).toBe(true);
  const changed = run('train', ['--resume', output, '--seed', '8', '--epochs', '2']);
  expect(changed).toMatchObject({ code: 1, err: expect.stringContaining('seed was 7, now 8') });
  const longer = run('train', ['--resume', output, '--epochs', '2']);
  expect(longer.out).toContain('2 steps done');
  expect(longer.code).toBe(0);
  expect(run('train', [...tiny, '--output', output]).err).toContain('already holds a run');
});

it('refuses before anything changes: a split that leaves nothing, an output that holds another run', () => {
  const [first, second] = ['first', 'second'].map((name) => join(folder, name)) as [string, string];
  const refused = run('train', [...tiny, '--val-split', '5000', '--output', join(folder, 'a', 'b')]);
  expect(refused).toMatchObject({
    code: 1,
    err: 'patchlight: --val-split 5000 leaves no training images: --limit-train leaves 100 of 10000. Use a smaller split.\n',
  });
  expect(existsSync(join(folder, 'a'))).toBe(false);
  for (const output of [first, second])
    expect(run('train', [...tiny, '--epochs', '1', '--quiet', '--output', output]).code).toBe(0);
  const before = readFileSync(join(second, 'history.json'), 'utf8');
  for (const resume of [first, join(first, 'checkpoints', 'last.state.safetensors')])
    expect(run('train', ['--resume', resume, '--epochs', '2', '--output', second])).toMatchObject({
      code: 1,
      err: `patchlight: ${second} already holds a run; continue it with --resume ${second} or give another --output.\n`,
    });
  expect(readFileSync(join(second, 'history.json'), 'utf8')).toBe(before);
});

it('draws a sheet of augmented images, and says what happened to them', async () => {
  const grid = join(folder, 'sheet.png');
  const flags =
    '--dataset shapes10 --rows 3 --columns 4 --scale 2 --augment rand --rand-num-ops 1 --cutmix 1 --list'.split(
      ' ',
    );
  const { code, out, err } = run('augment', ['--grid', grid, ...flags]);
  expect([code, err]).toEqual([0, '']);
  expect(out.trim().split('\n')).toHaveLength(9);
  expect(out).toMatch(/^row 1 column 2: (mirrored )?crop 32x32 at -?\d,-?\d, \w+ \S+/);
  const { data, info } = await sharp(grid).raw().toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject({ width: 2 * (4 * 33 + 1), height: 2 * (3 * 33 + 1), channels: 3 });
  // The first image, unchanged, after two white pixels.
  const { images } = generateShapes10('train', 1);
  const pixel = (x: number, y: number) => [
    ...data.subarray(3 * (y * info.width + x), 3 * (y * info.width + x) + 3),
  ];
  expect(pixel(1, 1)).toEqual([255, 255, 255]);
  for (const [x, y] of [
    [0, 0],
    [31, 0],
    [13, 20],
  ] as const)
    expect(pixel(2 + 2 * x, 3 + 2 * y)).toEqual([0, 1, 2].map((c) => images[c * 1024 + y * 32 + x]));
  const nowhere = run('augment', ['--grid', join(folder, 'no', 'sheet.png'), ...flags]);
  expect([nowhere.code, nowhere.err]).toEqual([
    1,
    expect.stringMatching(/^patchlight: --grid .*: there is no folder /),
  ]);
});
