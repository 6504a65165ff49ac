import {
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, DiskError, FormatError, PatchlightError } from '../../src/core/errors.js';
import { Counter } from '../../src/core/rng.js';
import { SaveFailures } from '../../src/runs/save_failures.js';
import { findState, removeStaleTemporaries, saveState } from '../../src/runs/state_files.js';
import { LONG, record, scratch, times } from './common.js';
import { type FailingFs, type Fault, failingFs, faults, isCrash } from './failing_fs.js';
import { sampleContent, sampleState } from './sample.js';

const section = 'Saving states';
const folder = scratch('states');
const NAMES = ['last.state.safetensors', 'last.1.state.safetensors', 'last.2.state.safetensors'];

let runs = 0;
function newRun(): string {
  const run = join(folder, String(runs++));
  mkdirSync(join(run, 'checkpoints'), { recursive: true });
  return run;
}

const files = (run: string): string[] => readdirSync(join(run, 'checkpoints')).sort();
const read = (run: string, name: string): Buffer => readFileSync(join(run, 'checkpoints', name));
/** The steps of the states under their three names, newest first; null if there is none. */
const steps = (run: string): (number | null)[] =>
  NAMES.map((name) => {
    if (!files(run).includes(name)) return null;
    const bytes = read(run, name);
    return [0, 1, 2, 3, 4, 5].find((step) => bytes.equals(sampleState(step))) ?? Number.NaN;
  });

/** A run with the states 0, 1 and 2. It is made once and then copied, with its hard links. */
async function runOfThree(): Promise<string> {
  const run = newRun();
  for (const step of [0, 1, 2]) await saveState(run, sampleContent(step));
  return run;
}

describe('a save', () => {
  it('keeps the two states before it, and leaves nothing else', async () => {
    const run = newRun();
    const seen: (number | null)[][] = [];
    for (const step of [0, 1, 2, 3]) {
      await saveState(run, sampleContent(step));
      seen.push(steps(run));
    }
    expect(seen).toEqual([
      [0, null, null],
      [1, 0, null],
      [2, 1, 0],
      [3, 2, 1],
    ]);
    expect(files(run)).toEqual([...NAMES].sort());
  });

  it('does so without hard links too', async () => {
    const run = newRun();
    for (const step of [0, 1, 2, 3])
      await saveState(run, sampleContent(step), failingFs(Infinity, 'EIO', { links: false }).fs);
    expect(steps(run)).toEqual([3, 2, 1]);
    expect(files(run)).toEqual([...NAMES].sort());
  });

  it('after one that ended between its link and its rename keeps the state before', async () => {
    const run = await runOfThree();
    const checkpoint = (name: string) => join(run, 'checkpoints', name);
    rmSync(checkpoint(NAMES[1]!));
    linkSync(checkpoint(NAMES[0]!), checkpoint(NAMES[1]!));
    await saveState(run, sampleContent(3));
    expect(steps(run)).toEqual([3, 2, 0]);
  });
});

/** Checks a save of state 3 over 2, 1 and 0, whatever happened during it: only state 0 may be gone. */
function expectPrevious(run: string, what: string): void {
  const found = [...new Set(steps(run))].filter((step) => step !== null && step > 0);
  expect(
    [
      [2, 1],
      [3, 2, 1],
    ],
    what,
  ).toContainEqual(found);
  expectWhole(run, what);
}

/** The newest state is whole under its name, the names are in order, and no other files are left. */
function expectWhole(run: string, what: string): void {
  removeStaleTemporaries(run);
  const { path, damaged } = findState(run);
  expect([path, damaged], what).toEqual([join(run, 'checkpoints', NAMES[0]!), []]);
  const found = steps(run).filter((step) => step !== null);
  expect(found, what).toEqual([...found].sort((a, b) => b - a));
  const others = files(run).filter((name) => !NAMES.includes(name));
  expect(others, what).toEqual([]);
}

describe.each([true, false])('with a fault at every call of a save (hard links: %s)', (links) => {
  let calls: number;
  beforeAll(async () => {
    const counting = failingFs(Infinity, 'EIO', { links });
    await saveState(await runOfThree(), sampleContent(3), counting.fs);
    calls = counting.calls();
  });

  it.each(faults)('%s: the newest state or the one before it is there, byte for byte', async (fault) => {
    for (let n = 1; n <= calls; n++) {
      const what = `${fault} at call ${n}`;
      const run = await runOfThree();
      const failure = await attempt(run, 3, failingFs(n, fault, { links }));
      if (failure) expect(failure, what).toBeInstanceOf(DiskError);
      if (!isCrash(fault))
        expect(
          files(run).filter((name) => name.endsWith('.tmp')),
          what,
        ).toEqual([]);
      expectPrevious(run, what);
      await saveState(run, sampleContent(4));
      expect(steps(run)[0], what).toBe(4);
      rmSync(run, { recursive: true });
    }
    record({
      section,
      provoked: `${FAULTS[fault]} at every system call of a save${links ? '' : ', without hard links'}`,
      times: calls,
      held: 'the state before is there byte for byte, and the next save succeeds',
    });
  });

  it(
    'two crashes: at every call of a save, and at every call of the save after it',
    async () => {
      const stride = times(5, 1);
      let pairs = 0;
      for (let n = 1; n <= calls; n += stride)
        for (let m = 1; m <= calls; m += stride) {
          const run = await runOfThree();
          const what = `crashes at calls ${n} and ${m}`;
          await attempt(run, 3, failingFs(n, 'torn', { links }));
          await attempt(run, 4, failingFs(m, 'torn', { links }));
          expectWhole(run, what);
          // A copy cannot be distinguished from a state of its own, so two crashes may leave the same state twice.
          const different = new Set(steps(run).filter((step) => step !== null)).size;
          expect(different, what).toBeGreaterThan(links ? 1 : 0);
          rmSync(run, { recursive: true });
          pairs++;
        }
      record({
        section,
        provoked: `Two crashes, each at every system call of a save${links ? '' : ', without hard links'}`,
        times: pairs,
        held: `the newest state${links ? ' and one before it are' : ' is'} there byte for byte, no temporary file is left`,
      });
    },
    LONG,
  );
});

const FAULTS: Record<Fault, string> = {
  EIO: 'EIO',
  ENOSPC: 'ENOSPC',
  short: 'A short read or write',
  full: 'A short write and a full disk from then on',
  crash: 'A crash',
  torn: 'A crash in the middle of a write',
};

/** The error of a save of state `step`; null where it succeeds. */
async function attempt(run: string, step: number, { fs }: FailingFs): Promise<unknown> {
  try {
    await saveState(run, sampleContent(step), fs);
    return null;
  } catch (error) {
    return error;
  }
}

describe('the newest state', () => {
  const flip = (run: string, name: string, bit: number): void => {
    const bytes = read(run, name);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    rmSync(join(run, 'checkpoints', name)); // its bytes may still have another name
    writeFileSync(join(run, 'checkpoints', name), bytes);
  };

  it('that is damaged is named, and the one before it is used', async () => {
    const random = new Counter(7, 0);
    const count = times(30, 500);
    const original = await runOfThree();
    const size = read(original, NAMES[0]!).length * 8;
    for (let i = 0; i < count; i++) {
      const run = newRun();
      cpSync(original, run, { recursive: true });
      const many = 1 + (i % 2);
      for (const name of NAMES.slice(0, many)) flip(run, name, random.below(size));
      const { path, file, damaged } = findState(run);
      expect(path).toBe(join(run, 'checkpoints', NAMES[many]!));
      expect(file.metadata.step).toBe(String(2 - many));
      expect(damaged).toHaveLength(many);
      damaged.forEach((sentence, j) => {
        expect(sentence.startsWith(join(run, 'checkpoints', NAMES[j]!)), sentence).toBe(true);
      });
      rmSync(run, { recursive: true });
    }
    record({
      section,
      provoked: 'The newest one or two states of a run damaged by a bit',
      times: count,
      held: 'each is named with what is wrong, and the one before is used',
    });
  });

  it.each<[string, (run: string) => string, RegExp, new (...parts: never[]) => Error]>([
    [
      'when all are damaged is an error that names each',
      (run) => {
        for (const name of NAMES) flip(run, name, 9000);
        return run;
      },
      /no state can be used: .*last\.state\.safetensors: .*last\.1\.state\.safetensors: .*last\.2\.state\.safetensors: /,
      FormatError,
    ],
    [
      'where there is none is an error that says so',
      (run) => {
        for (const name of NAMES) rmSync(join(run, 'checkpoints', name));
        return run;
      },
      /has no checkpoints\/last\.state\.safetensors\.$/,
      ConfigError,
    ],
    ['of a folder that is not there', (run) => join(run, 'x'), /x does not exist\.$/, ConfigError],
    [
      'of a link to itself',
      (run) => {
        symlinkSync(join(run, 'x'), join(run, 'x'));
        return join(run, 'x');
      },
      /x cannot be read \(ELOOP: too many symbolic links encountered\)\.$/,
      ConfigError,
    ],
    [
      'of a path through a file',
      (run) => join(run, 'checkpoints', NAMES[0]!, 'x'),
      /x does not exist\.$/,
      ConfigError,
    ],
  ])('%s', async (_, prepare, sentence, type) => {
    const path = prepare(await runOfThree());
    const find = () => findState(path);
    expect(find).toThrow(type);
    expect(find).toThrow(sentence);
  });

  it('that is a link to itself is named, and the one before it is used', async () => {
    const run = await runOfThree();
    const newest = join(run, 'checkpoints', NAMES[0]!);
    rmSync(newest);
    symlinkSync(newest, newest);
    const { path, damaged } = findState(run);
    expect(path).toBe(join(run, 'checkpoints', NAMES[1]!));
    expect(damaged).toEqual([`${newest} cannot be read (ELOOP: too many symbolic links encountered).`]);
  });

  it('of a file is that file, or the ones before it', async () => {
    const run = await runOfThree();
    const of = (name: string) => join(run, 'checkpoints', name);
    expect(findState(of(NAMES[1]!)).path).toBe(of(NAMES[1]!));
    flip(run, NAMES[1]!, 5000);
    expect(findState(of(NAMES[1]!)).path).toBe(of(NAMES[2]!));
    cpSync(of(NAMES[1]!), of('mine.safetensors'));
    expect(() => findState(of('mine.safetensors'))).toThrow(FormatError);
  });

  it('is found without a change to its folder', async () => {
    const run = await runOfThree();
    const names = [`${NAMES[0]}.${DEAD}.tmp`, `notes.${DEAD}.tmp`];
    for (const name of names) writeFileSync(join(run, 'checkpoints', name), 'x');
    const before = files(run);
    findState(run);
    findState(join(run, 'checkpoints', NAMES[0]!));
    expect(files(run)).toEqual(before);
  });
});

/** Above the largest PID of Linux. */
const DEAD = 4_194_305;

describe('temporary files', () => {
  const left = (run: string) => files(run).filter((name) => name.endsWith('.tmp'));

  it.each<[string, boolean]>([
    ...[
      ...NAMES,
      'best.safetensors',
      'final.safetensors',
      'final.ema.safetensors',
      'epoch_0012.safetensors',
    ].map((name): [string, boolean] => [`${name}.${DEAD}.tmp`, true]),
    [`${NAMES[0]}.${process.pid}.tmp`, true], // of an earlier process with our PID
    [`${NAMES[0]}.${process.ppid}.tmp`, false],
    [`${NAMES[0]}.0.tmp`, false],
    [`${NAMES[0]}.x.tmp`, false],
    [`mine.safetensors.${DEAD}.tmp`, false],
    [`epoch_last.safetensors.${DEAD}.tmp`, false],
    [`my-best.safetensors.${DEAD}.tmp`, false],
    [`notes.${DEAD}.tmp`, false],
    ['notes.tmp', false],
  ])('%s: removed: %s', (name, removed) => {
    const run = newRun();
    writeFileSync(join(run, 'checkpoints', name), 'x');
    removeStaleTemporaries(run);
    expect(left(run)).toEqual(removed ? [] : [name]);
  });

  it('that cannot be removed, or a folder that is not there, are no error', () => {
    const run = newRun();
    const name = `${NAMES[0]}.${DEAD}.tmp`;
    mkdirSync(join(run, 'checkpoints', name));
    removeStaleTemporaries(run);
    expect(left(run)).toEqual([name]);
    removeStaleTemporaries(join(run, 'none'));
    removeStaleTemporaries(join(run, 'checkpoints', name, 'x'));
  });
});

describe('saves that fail', () => {
  const full = new DiskError('x', 'ENOSPC', 2, 1, 'could not write x (2 bytes needed, 1 available): ENOSPC.');

  it('are told, and the third in a row ends the run', () => {
    const failures = new SaveFailures();
    expect(failures.failed(full)).toBe(
      `A save failed and training continues (2 more failures in a row will end it): ${full.message}`,
    );
    expect(failures.failed(full)).toContain('(1 more');
    failures.succeeded();
    expect(failures.failed(full)).toContain('(2 more');
    expect(failures.failed(full)).toContain('(1 more');
    expect(() => failures.failed(full)).toThrow(
      `3 saves in a row have failed. The last error: ${full.message}`,
    );
    expect(() => failures.failed(full)).toThrow(PatchlightError);
  });

  it('for another reason than the disk are not taken note of', () => {
    const bug = new TypeError('x');
    expect(() => new SaveFailures().failed(bug)).toThrow(bug);
  });
});
