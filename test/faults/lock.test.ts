import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, FormatError } from '../../src/core/errors.js';
import { startOf } from '../../src/io/pid.js';
import { lockRun } from '../../src/runs/lock.js';
import { bundleChild, record, scratch } from './common.js';

const folder = scratch('lock');
let runs = 0;
function newRun(lock?: unknown): string {
  const run = join(folder, String(runs++));
  mkdirSync(run);
  if (lock !== undefined)
    writeFileSync(join(run, 'run.lock'), typeof lock === 'string' ? lock : JSON.stringify(lock));
  return run;
}
const holderOf = (run: string) => JSON.parse(readFileSync(join(run, 'run.lock'), 'utf8'));

const host = hostname();
const DEAD = 4_194_305; // above the largest PID of Linux

describe('a lock', () => {
  it('says who holds it, refuses a second trainer, and is gone when it is given back', () => {
    const run = newRun();
    const lock = lockRun(run);
    expect(holderOf(run)).toEqual({ pid: process.pid, host, start: startOf(process.pid) });
    expect(() => lockRun(run)).toThrow(ConfigError);
    expect(() => lockRun(run)).toThrow(
      `${run} is in use by process ${process.pid}, which trains into it. Wait until it ends, or give another --output.`,
    );
    lock.release();
    expect(readdirSync(run)).toEqual([]);
    lockRun(run).release();
  });

  it.each<[string, object]>([
    ['is no more', { pid: DEAD, host, start: null }],
    [
      'has another start: its number was given again',
      { pid: process.ppid, host, start: 'an earlier boot 17' },
    ],
  ])('of a process that %s is taken over', (_, holder) => {
    const run = newRun(holder);
    const lock = lockRun(run);
    expect(holderOf(run).pid).toBe(process.pid);
    expect(readdirSync(run)).toEqual(['run.lock']);
    lock.release();
  });

  it('is taken over though another taking over was cut short', () => {
    const run = newRun({ pid: DEAD, host, start: null });
    writeFileSync(join(run, 'run.lock.takeover'), JSON.stringify({ pid: DEAD, host, start: null }));
    lockRun(run).release();
    expect(readdirSync(run)).toEqual([]);
  });

  it.each<[string, unknown, new (...parts: never[]) => Error, RegExp]>([
    [
      'another machine',
      { pid: 7, host: 'elsewhere', start: null },
      ConfigError,
      /locked by process 7 on another machine, elsewhere\. If that process has ended .* add --take-lock\.$/,
    ],
    [
      'nobody',
      { pid: -1, host, start: null },
      FormatError,
      /does not say which process holds it\. If no trainer uses its folder, remove it\.$/,
    ],
    ['no JSON', 'x', FormatError, /the lock is not JSON.*remove it\.$/],
    ['nothing', '', FormatError, /the lock is not JSON.*remove it\.$/],
  ])('of %s is refused with the remedy', (_, holder, type, sentence) => {
    const run = newRun(holder);
    expect(() => lockRun(run)).toThrow(type);
    expect(() => lockRun(run)).toThrow(sentence);
  });

  it('of another machine is taken over by --take-lock, and that of a living process here is not', () => {
    const away = newRun({ pid: 7, host: 'a container that is gone', start: null });
    lockRun(away, { take: true }).release();
    expect(readdirSync(away)).toEqual([]);
    const here = newRun({ pid: process.ppid, host, start: null });
    expect(() => lockRun(here, { take: true })).toThrow(/is in use by process/);
  });

  it.each<[string, (path: string) => void, string]>([
    ['a link to itself', (path) => symlinkSync(path, path), 'cannot be read (ELOOP'],
    [
      'a link that leads nowhere',
      (path) => symlinkSync(join(path, '..', 'none'), path),
      'cannot be read (ENOENT',
    ],
    ['a folder', (path) => mkdirSync(path), 'is a folder, not a file.'],
  ])('that is %s is refused', (_, make, sentence) => {
    const run = newRun();
    make(join(run, 'run.lock'));
    expect(() => lockRun(run)).toThrow(ConfigError);
    expect(() => lockRun(run)).toThrow(`${join(run, 'run.lock')} ${sentence}`);
  });

  it('that is another’s by now is not given back', () => {
    const run = newRun();
    const lock = lockRun(run);
    writeFileSync(join(run, 'run.lock'), JSON.stringify({ pid: 1, host, start: null }));
    lock.release();
    expect(existsSync(join(run, 'run.lock'))).toBe(true);
  });
});

/** A child process that answers each line with one line. */
class Racer {
  private readonly lines: AsyncIterator<string>;
  constructor(readonly process: ChildProcess) {
    this.lines = createInterface({ input: process.stdout! })[Symbol.asyncIterator]();
  }
  async ask(text: string): Promise<string> {
    this.process.stdin!.write(`${text}\n`);
    return (await this.lines.next()).value as string;
  }
}

describe('two processes at once', () => {
  let racers: Racer[];
  beforeAll(() => {
    const child = bundleChild(folder);
    racers = [0, 1].map(
      () => new Racer(spawn(process.execPath, [child, 'lock'], { stdio: ['pipe', 'pipe', 'inherit'] })),
    );
  });
  afterAll(async () => {
    for (const { process } of racers) {
      process.stdin!.end();
      await once(process, 'exit');
    }
  });

  it.each<[string, object | undefined]>([
    ['no lock', undefined],
    ['a stale lock', { pid: DEAD, host, start: null }],
  ])('find %s: exactly one gets it, and the other is told by whom', async (what, stale) => {
    await Promise.all(racers.map((racer) => racer.ask('release')));
    for (let round = 0; round < 50; round++) {
      const run = newRun(stale);
      const start = Date.now() + 8;
      const answers = await Promise.all(racers.map((racer) => racer.ask(`lock ${run} ${start}`)));
      const winner = racers[answers.indexOf('won')];
      expect(
        answers.filter((answer) => answer === 'won'),
        answers.join(),
      ).toHaveLength(1);
      expect(answers.find((answer) => answer !== 'won')).toBe(
        `ConfigError: ${run} is in use by process ${winner!.process.pid}, which trains into it. Wait until it ends, or give another --output.`,
      );
      expect(readdirSync(run)).toEqual(['run.lock']);
      await Promise.all(racers.map((racer) => racer.ask('release')));
      expect(readdirSync(run)).toEqual([]);
    }
    record({
      section: 'Locks',
      provoked: `Two processes lock one run directory at the same moment: ${what}`,
      times: 50,
      held: 'exactly one wins, the other names it',
    });
  });
});
