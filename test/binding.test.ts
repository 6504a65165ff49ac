/** Where WebGPU comes from: the driver's environment in Node, and other hosts. */
import { spawnSync } from 'node:child_process';
import { lstatSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { cacheFolder, type Entry } from '../src/gpu/cache_folder.js';

const [FOLDER, FILE, LINK] = [0o040000, 0o100000, 0o120000];
const ME = 1000;
const OTHER = 1001;
const mine = (mode: number): Entry => ({ uid: ME, mode });

describe('the cache of compiled kernels', () => {
  interface Case {
    readonly what: string;
    readonly env?: Record<string, string>;
    readonly home?: string;
    /** What there is, beside a home folder /home/me of the user's own. */
    readonly there?: Record<string, Entry>;
    readonly readOnly?: boolean;
    readonly expected: string | null;
  }
  const HOME = '/home/me/.cache/patchlight';
  const OWN = '/tmp/patchlight-1000';
  const cases: Case[] = [
    { what: 'is in the home folder', expected: HOME },
    {
      what: 'is where XDG_CACHE_HOME says',
      env: { XDG_CACHE_HOME: '/var/cache/me' },
      expected: '/var/cache/me/patchlight',
    },
    { what: 'is not at a relative XDG_CACHE_HOME', env: { XDG_CACHE_HOME: 'cache' }, expected: HOME },
    { what: 'is a private folder where there is no home', home: '', expected: OWN },
    { what: 'is a private folder where home is /', home: '/', expected: OWN },
    { what: 'is a private folder where home is relative', home: 'me', expected: OWN },
    { what: 'is a private folder where home does not exist', home: '/nonexistent', expected: OWN },
    {
      what: "is a private folder where home is another user's",
      home: '/root',
      there: { '/root': { uid: 0, mode: FOLDER | 0o755 } },
      expected: OWN,
    },
    {
      what: 'is a private folder where everybody may write to home',
      home: '/shared',
      there: { '/shared': mine(FOLDER | 0o1777) },
      expected: OWN,
    },
    {
      what: 'is the private folder that is there',
      home: '',
      there: { [OWN]: mine(FOLDER | 0o700) },
      expected: OWN,
    },
    {
      what: 'is nowhere where another user owns the private folder',
      home: '',
      there: { [OWN]: { uid: OTHER, mode: FOLDER | 0o700 } },
      expected: null,
    },
    {
      what: 'is nowhere where others may open the private folder',
      home: '',
      there: { [OWN]: mine(FOLDER | 0o770) },
      expected: null,
    },
    {
      what: 'is nowhere where a link has the name',
      home: '',
      there: { [OWN]: mine(LINK | 0o700) },
      expected: null,
    },
    {
      what: 'is nowhere where a file has the name',
      home: '',
      there: { [OWN]: mine(FILE | 0o700) },
      expected: null,
    },
    { what: 'is nowhere where no folder can be made', home: '', readOnly: true, expected: null },
  ];

  it.each(cases)('$what', ({ env = {}, home = '/home/me', there = {}, readOnly, expected }) => {
    const entries = new Map(Object.entries({ '/home/me': mine(FOLDER | 0o750), ...there }));
    const makePrivate = (path: string) => {
      if (!readOnly && !entries.has(path)) entries.set(path, mine(FOLDER | 0o700));
    };
    const stat = (path: string) => entries.get(path) ?? null;
    const user = { uid: ME, home, temporary: '/tmp' };
    expect(cacheFolder(env, user, { stat, makePrivate })).toBe(expected);
  });

  const list = (temporary: string) => {
    const { HOME: _, XDG_CACHE_HOME: __, MESA_SHADER_CACHE_DIR: ___, ...env } = process.env;
    const command = ['dist/train.js', '--list-adapters'];
    return spawnSync(process.execPath, command, {
      encoding: 'utf8',
      env: { ...env, HOME: '/', TMPDIR: temporary },
    });
  };

  it.skipIf(process.platform !== 'linux')('without a home is a folder that nobody else can open', () => {
    expect(spawnSync(process.execPath, ['scripts/build.mjs']).status).toBe(0);
    const temporary = mkdtempSync(join(tmpdir(), 'patchlight-'));
    onTestFinished(() => rmSync(temporary, { recursive: true }));
    const own = join(temporary, `patchlight-${process.geteuid?.()}`);
    expect(list(temporary).status).toBe(0);
    expect(lstatSync(own).mode & 0o777).toBe(0o700);
    // A folder that others may open is not used, and nothing fails.
    rmSync(own, { recursive: true });
    mkdirSync(own, { mode: 0o755 });
    expect(list(temporary).status).toBe(0);
  });
});
