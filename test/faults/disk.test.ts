import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Counter } from '../../src/core/rng.js';
import { recordBytes } from '../../src/io/cifar.js';
import { findState, removeStaleTemporaries, saveState } from '../../src/runs/state_files.js';
import { Trainer } from '../../src/runs/trainer.js';
import { withGpu } from '../gpu.js';
import { bundleChild, LONG, record, scratch, times } from './common.js';
import { results, silent, trainerInput } from './run.js';
import { sampleContent, sampleState } from './sample.js';

const gpuOf = withGpu();
const folder = scratch('disk', { onDisk: true });
const child = bundleChild(folder);
const MEGABYTE = 1 << 20;

function newRun(name: string): string {
  const run = join(folder, name);
  mkdirSync(join(run, 'checkpoints'), { recursive: true });
  return run;
}

const output = (command: string, values: string[]): string =>
  spawnSync(command, values, { encoding: 'utf8' }).stdout.trim();

it(
  'kill -9 of a process that saves state after state: one is always there',
  async () => {
    const run = newRun('killed');
    const random = new Counter(13, 0);
    const count = times(10, 200);
    let step = 0;
    for (let i = 0; i < count; i++) {
      const saver = spawn(process.execPath, [child, 'save', run, String(step), String(MEGABYTE)]);
      let said = '';
      saver.stdout.on('data', (text) => {
        said += text;
      });
      await once(saver.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, random.below(60)));
      saver.kill('SIGKILL');
      await once(saver, 'close');
      const saved = Number(said.trimEnd().split('\n').at(-1));
      removeStaleTemporaries(run);
      const { path, file, damaged } = findState(run);
      const found = Number(file.metadata.step);
      expect([saved, saved + 1], `kill ${i}`).toContain(found);
      expect(damaged).toEqual([]);
      expect(readFileSync(path).equals(sampleState(found, MEGABYTE)), `kill ${i}`).toBe(true);
      expect(readdirSync(join(run, 'checkpoints')).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      step = found + 1;
    }
    record({
      section: 'Saving states',
      provoked: 'kill -9 at a random moment of a process that saves a state of 1 MB without pause',
      times: count,
      held: 'the newest state that was saved, or the one under way, is whole under its name; no temporary file outlives the next start',
    });
  },
  LONG,
);

it('a process that exits while it saves leaves the state before, and no temporary file', async () => {
  const run = newRun('exits');
  await saveState(run, sampleContent(0));
  expect(spawnSync(process.execPath, [child, 'exit', run]).status).toBe(130);
  expect(readdirSync(join(run, 'checkpoints'))).toEqual(['last.state.safetensors']);
  expect(findState(run).file.metadata.step).toBe('0');
});

/** The error sentence for a state that did not fit: the file, the bytes needed and the bytes free. */
const REFUSED =
  /^DiskError: could not write (.*last\.state\.safetensors) \((\d+) bytes needed, (\d+) available\): (E\w+): [a-z ]+; .*\.$/;

function expectPrevious(run: string, said: string, code: string): void {
  const [, path, needed, available, actual] = REFUSED.exec(said) ?? [];
  expect(said).toMatch(REFUSED);
  expect([path, actual]).toEqual([join(run, 'checkpoints', 'last.state.safetensors'), code]);
  expect(Number(needed)).toBe(sampleState(1, 900_000).length);
  expect(Number(available)).toBeGreaterThanOrEqual(0);
  expect(readdirSync(join(run, 'checkpoints'))).toEqual(['last.state.safetensors']);
  expect(readFileSync(path!).equals(sampleState(0, 300_000))).toBe(true);
}

describe('a disk', () => {
  const onLinux = process.platform === 'linux';
  const mountPoint = join(folder, 'tmpfs');
  mkdirSync(mountPoint);
  const mounted =
    onLinux && spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'patchlight', mountPoint]).status === 0;
  afterAll(() => {
    if (mounted) spawnSync('umount', [mountPoint]);
  });

  it.runIf(mounted)('of 1 MiB that is full', async () => {
    const run = newRun('tmpfs/run');
    await saveState(run, sampleContent(0, 300_000));
    expectPrevious(run, output(process.execPath, [child, 'once', run, '1', '900000']), 'ENOSPC');
    record({
      section: 'Full disks',
      provoked: 'A state that does not fit on a disk of 1 MiB',
      times: 1,
      held: 'the state before is untouched, the temporary file gone; the sentence says the bytes needed and available',
    });
  });

  it.runIf(onLinux)('that takes no file so large (ulimit -f)', async () => {
    const run = newRun('limited');
    await saveState(run, sampleContent(0, 300_000));
    const command = `ulimit -f 512; exec "${process.execPath}" "${child}" once "${run}" 1 900000`;
    expectPrevious(run, output('bash', ['-c', command]), 'EFBIG');
    record({
      section: 'Full disks',
      provoked: 'A state larger than the limit on the size of files',
      times: 1,
      held: 'the state before is untouched, the temporary file gone; the sentence says the bytes needed and available',
    });
  });
});

// Only Linux has /dev/full, a file on a disk that is always full.
describe.skipIf(!existsSync('/dev/full'))('a disk that takes no log lines', () => {
  const whole = join(folder, 'whole');

  /** Trains. From the n-th step on, the log's disk is full for `refused` steps. */
  async function train(path: string, log: RegExp, first: number, refused: number, resume?: string) {
    const notes: string[] = [];
    let [taken, kept] = ['', ''];
    const onStep = (step: number) => {
      if (step === first) {
        taken = join(path, readdirSync(path).find((name) => log.test(name)) as string);
        kept = `${taken}.kept`;
        renameSync(taken, kept);
        symlinkSync('/dev/full', taken);
      } else if (step === first + refused) renameSync(kept, taken);
    };
    const reporter = { ...silent, note: (note: string) => notes.push(note) };
    const trainer = await Trainer.prepare(trainerInput(gpuOf(), path, { reporter, onStep, resume }));
    try {
      await trainer.run();
    } finally {
      if (existsSync(kept)) renameSync(kept, taken);
      trainer.release();
    }
    return notes;
  }

  beforeAll(() => train(whole, /^steps/, 0, 0));

  it.each([/^steps\.jsonl$/, /^events\./])('%s gets them when there is room again', async (log) => {
    const path = join(folder, `late-${log.source.slice(1, 5)}`);
    const notes = await train(path, log, 4, 2);
    expect(notes).toHaveLength(2);
    for (const note of notes)
      expect(note).toMatch(
        /^A save failed and training continues .* could not append to .* \(\d+ bytes needed, \d+ available\): ENOSPC/,
      );
    expect(results(path)).toEqual(results(whole));
  });

  it('ends the run at the third refusal in a row, and it can be continued', async () => {
    const path = join(folder, 'refused');
    await expect(train(path, /^steps/, 4, 100)).rejects.toThrow(
      /^3 saves in a row have failed\. .*steps\.jsonl/,
    );
    expect(findState(path).file.metadata.step).toBe('3');
    await train(path, /^steps/, 0, 0, path);
    expect(results(path)).toEqual(results(whole));
    record({
      section: 'Full disks',
      provoked: 'Log lines refused for two steps, and for three',
      times: 1,
      held: 'two: told, and written with the next; three: the run ends, and continued is the undisturbed one',
    });
  });
});

describe.runIf(process.platform === 'linux')('memory', () => {
  it('the training images of CIFAR-100 takes hardly more than twice its size', () => {
    const path = join(folder, 'cifar100');
    mkdirSync(path);
    const size = 50_000 * recordBytes('cifar100');
    writeFileSync(join(path, 'train.bin'), new Uint8Array(size));
    const grown = Number(output(process.execPath, [child, 'read', path]));
    expect(grown / size).toBeGreaterThan(0.9);
    expect(grown / size).toBeLessThan(2.2); // two copies, and memory that Node itself takes
    record({
      section: 'Files from outside',
      provoked: 'Memory taken to read the training images of CIFAR-100',
      times: 1,
      held: 'at most 2.2 times the file, with what Node itself takes meanwhile',
    });
  });

  it('a state of 300 MB is written, found and loaded in less than 150 MB', () => {
    const run = newRun('large');
    const bytes = 300e6;
    const { path, grown, difference } = JSON.parse(
      output(process.execPath, [child, 'large', run, String(bytes)]),
    );
    expect(path).toBe(join(run, 'checkpoints', 'last.state.safetensors'));
    expect(statSync(path).size).toBeGreaterThan(bytes);
    expect(difference).toBe(0);
    expect(grown).toBeLessThan(150e6);
    record({
      section: 'Saving states',
      provoked: 'Memory taken to write, find and load a state of 300 MB',
      times: 1,
      held: 'less than 150 MB, with what Node itself takes meanwhile; every value is the one written',
    });
  });
});
