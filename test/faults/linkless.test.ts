/** A file system without hard links, for code that does not take the file system as a parameter. */
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { ConfigError } from '../../src/core/errors.js';
import { lockRun } from '../../src/runs/lock.js';
import { scratch } from './common.js';

vi.mock('node:fs', async (original) => ({
  ...(await original<typeof import('node:fs')>()),
  linkSync: () => {
    throw Object.assign(new Error('EPERM: operation not permitted, link'), { code: 'EPERM' });
  },
}));

it('a run directory is locked, refused and given back', () => {
  const run = join(scratch('linkless'), 'run');
  mkdirSync(run);
  const lock = lockRun(run);
  expect(JSON.parse(readFileSync(join(run, 'run.lock'), 'utf8')).pid).toBe(process.pid);
  expect(() => lockRun(run)).toThrow(ConfigError);
  lock.release();
  expect(readdirSync(run)).toEqual([]);
});
