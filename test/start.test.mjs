/** `npm start`: the flags that it adds to the typed ones. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { trainArguments } from '../scripts/start.mjs';
import { withBuild } from './faults/commands.js';

const words = (text) => text.split(' ').filter(Boolean);
const arguments_ = (typed) => trainArguments(words(typed), async () => 'chosen');
const REPORT = '--report';
const QUICKSTART = `${REPORT} --preset quickstart`;

describe('npm start', () => {
  it.each([
    ['', `${QUICKSTART} --dataset chosen`],
    ['--epochs 2 --no-shuffle', `${QUICKSTART} --dataset chosen`],
    ['--preset vit-lite', `${REPORT} --dataset chosen`],
    ['--preset=vit-lite', `${REPORT} --dataset chosen`],
    ['--dataset shapes10', QUICKSTART],
    ['--dataset=shapes10', QUICKSTART],
    ['--preset vit-lite --dataset shapes10', REPORT],
    ['--data_dir elsewhere', `${QUICKSTART} --dataset chosen`],
    // A resumed run has its own settings, and so has a config file.
    ['--resume runs/a', ''],
    ['--resume=runs/a', ''],
    ['--resume runs/a --epochs 9', ''],
    ['--config mine.json', ''],
    ['--config=mine.json --epochs 2', ''],
    ['--config mine.json --preset vit-lite', ''],
    // Nothing is trained.
    ['--help', ''],
    ['--version', ''],
    ['--list-adapters', ''],
    ['--list_adapters', ''],
    // Other flags with the same beginning.
    ['--data-dir x --config-like', `${QUICKSTART} --dataset chosen`],
  ])('with "%s" adds "%s"', async (typed, added) => {
    expect(await arguments_(typed)).toEqual([...words(added), ...words(typed)]);
  });

  it('looks for a data set only where it is to name one', async () => {
    const refuse = async () => {
      throw new Error('asked');
    };
    await trainArguments(['--resume', 'runs/a'], refuse);
    await trainArguments(['--dataset', 'shapes10'], refuse);
    await expect(trainArguments([], refuse)).rejects.toThrow('asked');
  });
});

describe('what npm start passes on', () => {
  withBuild();

  it.each([
    ['--resume /nope', /^patchlight: \/nope does not exist/],
    ['--config /nope.json', /^patchlight: \/nope\.json cannot be read/],
  ])('is accepted by the command: %s', async (typed, says) => {
    const { stderr, status } = spawnSync(process.execPath, ['dist/train.js', ...(await arguments_(typed))], {
      encoding: 'utf8',
    });
    expect(stderr).toMatch(says);
    expect(status).toBe(1);
  });
});
