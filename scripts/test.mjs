// `npm test [-- arguments of vitest]`: style, types, build, tests. The last line is always `N passed, N failed`,
// followed by `, N skipped` if some were skipped. `npm run test:quick` does the same with the tests whose tag is `quick`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from './build.mjs';
import { root, Trouble } from './common.mjs';
import { setup } from './setup.mjs';

/** Runs a package's command with this Node and shows its output. True if it succeeded. */
function tool(file, args, env = process.env) {
  const command = [join(root, 'node_modules', file), ...args];
  return spawnSync(process.execPath, command, { cwd: root, stdio: 'inherit', env }).status === 0;
}

function check(what, file, args) {
  if (!tool(file, args)) throw new Trouble(`The ${what} failed: no test was run.`);
}

/** Counts from vitest's JSON report. A file that did not load, or an error outside of tests, counts as one failure. */
function count(reportFile, succeeded) {
  let report;
  try {
    report = JSON.parse(readFileSync(reportFile, 'utf8'));
  } catch {
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  const failed = report.numFailedTests + broken.length;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && !succeeded ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** Arguments of vitest for the tests whose tag is `quick`. Files without one are not even loaded. */
function quick() {
  const files = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.test\.\w+$/.test(name))
    .map((name) => join('test', name))
    .filter((name) => /@module-tag quick|'quick'/.test(readFileSync(join(root, name), 'utf8')));
  return [...files, '--tags-filter=quick'];
}

async function run(args) {
  setup();
  check('style check (npm run format mends most of it)', '@biomejs/biome/bin/biome', [
    'check',
    '--error-on-warnings',
  ]);
  check('type check', 'typescript/bin/tsc', ['--noEmit']);
  await build();
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-test-'));
  try {
    const report = join(folder, 'report.json');
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
    const env = { ...process.env, PATCHLIGHT_BUILT: '1' };
    const succeeded = tool('vitest/vitest.mjs', ['run', ...reporters, ...args], env);
    return count(report, succeeded);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const isQuick = process.argv[2] === 'quick';
let result;
try {
  result = await run(isQuick ? quick() : process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Trouble ? error.message : error);
  result = { passed: 0, failed: 1, skipped: 0 };
}
const { passed, failed, skipped } = result;
// The report calls tests skipped that are not quick.
const tail = skipped > 0 && !isQuick ? `, ${skipped} skipped` : '';
console.log(`${passed} passed, ${failed} failed${tail}`);
process.exitCode = failed > 0 ? 1 : 0;
