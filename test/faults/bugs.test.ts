/**
 * Planted bugs are caught: tests run in a process whose loader changes one line of one file (vitest.config.ts), and must
 * fail. Without the change they pass.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type Bug, KERNEL_BUGS } from './bugs.js';
import { LONG, record, times } from './common.js';
import { SOURCE_BUGS } from './source_bugs.js';

const ROOT = join(import.meta.dirname, '..', '..');

/** Plants a bug, runs the tests that must catch it, and returns how they ended. */
function caught({ path, from, to, file, tests }: Bug): { status: number | null; failed: number } {
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
      env: { ...process.env, PATCHLIGHT_PLANT: JSON.stringify({ path, from, to }), PATCHLIGHT_FIGURES: '' },
    },
  );
  const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { numFailedTests: number };
  return { status, failed: report.numFailedTests };
}

const BUGS = [...KERNEL_BUGS, ...SOURCE_BUGS];

it.each(BUGS)('$path: $kind stands in one place', ({ path, from, to }) => {
  const source = readFileSync(join(ROOT, path), 'utf8');
  expect(source.split(from)).toHaveLength(2);
  expect(from).not.toBe(to);
});

const chosen = [KERNEL_BUGS, SOURCE_BUGS].flatMap((bugs) => bugs.slice(0, times(2, bugs.length)));

it.each(chosen)(
  '$path: $kind is caught',
  (bug) => {
    const { status, failed } = caught(bug);
    expect(status).toBe(1);
    expect(failed).toBeGreaterThan(0);
    record({
      section: 'Planted bugs, each caught by npm test',
      provoked: `${bug.path}: ${bug.kind}`,
      times: 1,
      held: `caught by ${bug.file}`,
    });
  },
  LONG,
);
