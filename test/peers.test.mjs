/** The command line of `npm run bench:peers`, and its report of a trainer without a result. Nothing is installed or timed. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { complaint, resultIn } from '../bench/peers/contestants.mjs';
import { readOptions } from '../bench/peers/options.mjs';

const words = (text) => text.split(' ').filter(Boolean);
const names = ['step-a', 'step-b', 'matmul'];

it.each([
  ['', { quick: false, save: false, rounds: 3, seconds: 300, comparisons: names.map((name) => ({ name })) }],
  ['--quick', { quick: true, rounds: 1 }],
  ['--quick --rounds 2 --timeout=9 --save', { save: true, rounds: 2, seconds: 9 }],
  ['--only matmul,step-a@16', { comparisons: [{ name: 'matmul' }, { name: 'step-a', batch: 16 }] }],
  ['--help', { help: true }],
])('reads "%s"', (typed, expected) => {
  expect(readOptions(words(typed), names)).toMatchObject(expected);
});

it.each([
  ['--nope', /^Unknown option '--nope'\. --help lists what there is\.$/],
  ['more', /^Unexpected argument 'more'\. --help lists/],
  ['--quick=yes', /'--quick' does not take an argument\. --help lists/],
  ['--rounds', /argument missing\. --help lists/],
  ['--rounds 0', /^--rounds must be a whole number from 1 to 2000000, not "0"\.$/],
  ['--rounds x', /not "x"/],
  ['--rounds 1.5', /not "1\.5"/],
  ['--rounds=', /not ""/],
  ['--timeout -1', /--timeout/],
  ['--timeout 3000000', /not "3000000"/],
  ['--timeout 1e99', /--timeout must be a whole number from 1 to 2000000, not "1e99"/],
  ['--only step-c', /^--only knows step-a, step-b, matmul, not "step-c"\.$/],
  ['--only=', /not ""/],
  ['--only step-a,', /not ""/],
  ['--only step-a@', /^--only step-a@ must be a whole number from 1 to 2000000, not ""\.$/],
  ['--only step-a@x', /not "x"/],
  ['--only matmul@3', /^--only matmul@3: a batch size goes with a step, as in step-tiny@16\.$/],
])('refuses "%s"', (typed, says) => {
  expect(() => readOptions(words(typed), names)).toThrow(says);
});

describe('npm run bench:peers', () => {
  const run = (...args) =>
    spawnSync(process.execPath, ['bench/peers/run.mjs', ...args], { encoding: 'utf8' });

  it('has a help text', () => {
    const { status, stdout, stderr } = run('--help');
    expect(stdout).toMatch(/^npm run bench:peers -- \[flags\]\n/);
    expect([status, stderr]).toEqual([0, '']);
  });

  it('ends in a sentence where it was typed wrong', () => {
    const { status, stdout, stderr } = run('--only', 'nope');
    expect(stderr).toMatch(/^--only knows step-small, .*, not "nope"\.\n$/);
    expect([status, stdout]).toEqual([2, '']);
  });
});

it.each([
  [
    "Error [ERR_MODULE_NOT_FOUND]: Cannot find package '@jax-js/jax' imported from /x/jax.mjs\n    at y (z:1:2)\nNode.js v20",
    'its package @jax-js/jax is not installed',
  ],
  [
    "Error: Cannot find module '@tensorflow/tfjs'\nRequire stack:\n- /x/tfjs.mjs\n    at y",
    'its package @tensorflow/tfjs is not installed',
  ],
  [
    "Traceback:\n  File x\nModuleNotFoundError: No module named 'torch'",
    'its package torch is not installed',
  ],
  ['RuntimeError: the sky is low\n    at x', 'RuntimeError: the sky is low'],
  ['', ''],
])('says in few words why there is no result', (said, reason) => {
  expect(complaint(said)).toBe(reason);
});

it.each([
  ['{"ms": [1]}\n{"ms": [1, 2]}\n', { ms: [1, 2] }],
  ['{"ms": [1]}\n{"ms": [1, 2', { ms: [1] }], // killed while it wrote
  ['{"ms', null],
  ['no JSON at all', null],
])('finds the last whole result', (printed, result) => {
  expect(resultIn(printed)).toEqual(result);
});
