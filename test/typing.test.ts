/** Wrong command lines give one sentence and exit code 1 or 2, and write nothing. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { withBuild } from './faults/commands.js';
import { scratch } from './faults/common.js';

withBuild();
const folder = scratch('typing');
const dist = resolve('dist');

/** The files that exist when a command line is typed. */
const AROUND: Readonly<Record<string, string>> = {
  'file.txt': 'x',
  'empty.json': '',
  'list.json': '[]',
  'object.json': '{}',
  'mine.json': '[{"depth": 1}]',
};

let around: string[];
beforeAll(() => {
  mkdirSync(join(folder, 'folder'));
  for (const [name, text] of Object.entries(AROUND)) writeFileSync(join(folder, name), text);
});
beforeEach(() => {
  around = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
});

/** `""` in a command line is an empty argument. */
const words = (text: string): string[] =>
  text
    .split(' ')
    .filter(Boolean)
    .map((word) => word.replaceAll('""', ''));

function expectRefused(command: string, code: number, says: RegExp): void {
  const [script, ...args] = words(command) as [string, ...string[]];
  const { status, stderr } = spawnSync(process.execPath, [join(dist, `${script}.js`), ...args], {
    encoding: 'utf8',
    cwd: folder,
    env: { ...process.env, PATCHLIGHT_DATA: join(folder, 'no-data') },
    timeout: 60_000,
  });
  // Dawn's warnings cannot be dropped if standard error is a socket, as it is between two Node processes.
  const said = stderr.replace(/^Warning: maxDynamic.*\n/gm, '');
  expect(said).toMatch(says);
  expect(said.trim().split('\n')).toHaveLength(1);
  expect(said).toMatch(/^patchlight: .*\.\n$/);
  expect(status).toBe(code);
  expect(readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()).toEqual(around);
}

const tiny =
  '--dataset shapes10 --limit-train 40 --embed-dim 16 --depth 1 --num-heads 2 --patch-size 16 --batch-size 20 --epochs 1';

describe('what every command refuses', () => {
  it.each([
    // An empty shell variable must not be treated like an absent flag.
    ['train --resume ""', 2, /--resume is empty: give it a value, or leave it out/],
    [`train ${tiny} --output ""`, 2, /--output is empty/],
    [`train ${tiny} --output x --init=`, 2, /--init is empty/],
    ['train --config "" --dataset shapes10', 2, /--config is empty/],
    ['train --preset "" --dataset shapes10', 2, /--preset is empty/],
    ['train --adapter "" --dataset shapes10', 2, /--adapter is empty/],
    ['train --dataset ""', 2, /--dataset is empty/],
    ['evaluate folder --weights ""', 2, /--weights is empty/],
    ['evaluate folder --report ""', 2, /--report is empty/],
    ['evaluate ""', 2, /an argument is empty/],
    ['predict folder ""', 2, /an argument is empty/],
    ['augment --grid ""', 2, /--grid is empty/],
    ['bench --json ""', 2, /--json is empty/],
    ['check --filter ""', 2, /--filter is empty/],
    ['sweep --grid "" --plan', 2, /--grid is empty/],
    ['sweep --grid depth=1 --grid= --plan', 2, /--grid is empty/],
    ['sweep --grid depth=1 --output ""', 2, /--output is empty/],
    ['sweep --study "" --plan', 2, /--study is empty/],
    // Words that belong to no flag.
    [`train runs/a ${tiny} --output x`, 2, /got 1, maximum of 0/],
    ['augment --grid x.png more --dataset shapes10', 2, /got 1, maximum of 0/],
    ['check gelu', 2, /got 1, maximum of 0/],
    // yargs would take these for false.
    [`train ${tiny} --json=maybe --output x`, 2, /--json is true or false, not "maybe"/],
    [`train ${tiny} --no-shuffle=yes --output x`, 2, /--shuffle is true or false, not "yes"/],
    ['sweep --plan=maybe --grid depth=1', 2, /--plan is true or false, not "maybe"/],
    // A numeric flag without a number does not mean the default.
    ['augment --grid x.png --rows', 2, /Not enough arguments following: rows/],
    ['bench step --image-size', 2, /Not enough arguments following: image-size/],
  ])('%s', (command, code, says) => expectRefused(command, code, says));
});

describe('a sweep refuses before anything runs', () => {
  it.each([
    ['--grid depth=1.5 --plan', 1, /depth=1\.5: --depth must be a whole number/],
    ['--grid depth=-1 --plan', 1, /depth=-1: --depth must be at least 1/],
    ['--grid depth=1e999 --plan', 1, /depth is a number, not "1e999"/],
    ['--grid seed=1..5 --plan', 1, /seed is a number, not "1\.\.5"/],
    ['--grid pool=max --plan', 1, /pool=max: --pool must be one of cls, mean/],
    ['--grid dataset=../x --plan', 1, /dataset=\.\._x: --dataset \.\.\/x is not a folder/],
    ['--grid =1 --plan', 1, /--grid =1 must be a setting and its values/],
    ['--grid depth==1 --plan', 1, /depth is a number, not "=1"/],
    ['--list list.json --plan', 1, /list\.json must hold a JSON array of objects/],
    ['--list object.json --plan', 1, /object\.json must hold a JSON array of objects/],
    ['--list empty.json --plan', 1, /empty\.json: the file is not JSON/],
    ['--list folder --plan', 1, /folder is a folder, not a file/],
    ['--list nowhere.json --plan', 1, /nowhere\.json cannot be read/],
    ['--list mine.json --config folder --plan', 1, /folder is a folder, not a file/],
    ['--list mine.json --config list.json --plan', 1, /list\.json: the file must hold one JSON object/],
    ['--list mine.json --preset nope --plan', 1, /There is no preset called nope/],
    ['--study nope --plan', 1, /There is no study called nope/],
    ['--list mine.json --init folder --plan --dataset shapes10', 1, /folder is a folder, not a file/],
    ['--list mine.json --init file.txt --plan --dataset shapes10', 1, /file\.txt: a safetensors file has/],
    ['--list mine.json --init nowhere --plan --dataset shapes10', 1, /--init nowhere does not exist/],
    ['--list mine.json --output file.txt --dataset shapes10', 1, /The folder file\.txt cannot be created/],
    ['--list mine.json --output file.txt/x --dataset shapes10', 1, /file\.txt\/x cannot be created/],
    ['--list mine.json --learning-rate abc --plan', 2, /--learning-rate must be a number/],
  ])('%s', (flags, code, says) => expectRefused(`sweep ${flags}`, code, says));
});

describe('files that cannot be written, and sizes that nobody means, are refused before any work', () => {
  const step = 'bench step --embed-dim 16 --depth 1 --num-heads 2 --quick';
  it.each([
    ['bench --json folder', 1, /--json folder is a folder\. Name a file/],
    ['bench --json nowhere/x.json', 1, /--json nowhere\/x\.json: there is no folder nowhere\. Make it/],
    ['check --json folder', 1, /--json folder is a folder/],
    ['check --json nowhere/x.json', 1, /there is no folder nowhere/],
    ['check --seconds 0', 2, /--seconds must be a number above 0/],
    ['augment --dataset shapes10 --grid folder', 1, /--grid folder is a folder/],
    ['augment --dataset shapes10 --grid file.txt/x.png', 1, /there is no folder file\.txt/],
    ['evaluate nowhere --report folder', 1, /--report folder is a folder/],
    ['augment --dataset shapes10 --grid x.png --columns 1e6', 1, /make a picture of 99000003 x 795 pixels/],
    ['augment --dataset shapes10 --grid x.png --rows 1e99', 1, /--rows 10000, .* Use smaller ones/],
    ['augment --dataset shapes10 --grid x.png --scale 1e5', 1, /--scale 100000 make a picture/],
    [`${step} --steps 1e99`, 2, /--steps must be a positive whole number up to 1000000, not 1e\+99/],
    [`${step} --image-size 1e9`, 2, /--image-size must be a whole number of pixels from 1 to 4096/],
    [`${step} --image-size abc`, 2, /--image-size must be a number, not "abc"/],
    ['train --dataset shapes10 --depth 1e99', 1, /--depth must be at most 1000, not 1e\+99/],
    ['sweep --dataset shapes10 --grid depth=1e99 --plan', 1, /--depth must be at most 1000, not 1e\+99/],
  ])('%s', (command, code, says) => expectRefused(command, code, says));
});
