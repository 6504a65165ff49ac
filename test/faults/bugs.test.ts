/**
 * Planted bugs are caught: the tests of an op run in a process of their own whose loader changes one line of one kernel
 * (vitest.config.ts); they must fail, and pass without it.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { BUGS, type Bug } from './bugs.js';
import { LONG, record, times } from './common.js';

const ROOT = join(import.meta.dirname, '..', '..');

/** Whether the tests that must see a bug fail with it. */
function caught({ kernel, from, to, file, tests }: Bug): { status: number | null; failed: number } {
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      join(ROOT, 'node_modules/vitest/vitest.mjs'),
      ...['run', file, '--bail', '1', '--reporter', 'json'],
      ...(tests ? ['-t', tests] : []),
    ],
    {
      cwd: ROOT,
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: { ...process.env, PATCHLIGHT_PLANT: JSON.stringify({ kernel, from, to }), PATCHLIGHT_FIGURES: '' },
    },
  );
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { numFailedTests: number };
  return { status, failed: report.numFailedTests };
}

it.each(BUGS)('$kernel: $kind stands in one place', ({ kernel, from, to }) => {
  const source = readFileSync(join(ROOT, 'kernels', `${kernel}.wgsl`), 'utf8');
  expect(source.split(from)).toHaveLength(2);
  expect(from).not.toBe(to);
});

const chosen = BUGS.slice(0, times(2, BUGS.length));

it.each(chosen)(
  '$kernel: $kind is caught',
  (bug) => {
    const { status, failed } = caught(bug);
    expect(status).toBe(1);
    expect(failed).toBeGreaterThan(0);
    record({
      section: 'Planted bugs, each caught by npm test',
      provoked: `${bug.kernel}: ${bug.kind}`,
      times: 1,
      held: `caught by ${bug.file}`,
    });
  },
  LONG,
);
