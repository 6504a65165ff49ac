/** The commit that the program is from. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { Commit } from '../sweeps/results.js';

/**
 * The commit of the git checkout that dist/ lies in, and whether tracked files have changes. Null if the package is no checkout
 * of its own (an installed copy may lie in the checkout of another project), or if there is no git.
 */
export function commitOfPackage(root = join(import.meta.dirname, '..')): Commit | null {
  const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' });
  const { status, stdout } = git('rev-parse', '--show-prefix', 'HEAD');
  const [prefix, commit] = `${stdout}`.split('\n');
  if (status !== 0 || prefix !== '' || !commit) return null;
  const changes = git('status', '--porcelain', '--untracked-files=no');
  return { commit, dirty: changes.status !== 0 || changes.stdout !== '' };
}
