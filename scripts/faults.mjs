// `npm run test:faults [-- test files and arguments of vitest]`: the reliability tests in their long form, and docs/reliability.md
// from the figures that they recorded. If test files are named, only those run, and only the sections that they record
// change.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isMain, root, runMain, Trouble } from './common.mjs';
import { install } from './setup.mjs';

/** All of test/faults, and the tests beside it that record figures. */
const FILES = [
  'test/faults/',
  ...['health', 'io', 'safetensors', 'tar'].map((name) => `test/${name}.test.ts`),
];

const INTRODUCTION = `# Reliability

What is provoked, how often, and what held every time: \`npm run test:faults\` does all of it again and writes this page from
what the tests record. \`npm test\` runs the same tests in a short form. A test that sees anything else fails, and no page is
written.
`;

const namesFiles = (args) => args.some((arg) => /\.test\.\w+$/.test(arg));

/** Runs the tests, which append their figures to the file \`figures\` as JSON lines. */
function runTests(figures, args) {
  const { status } = spawnSync(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), 'run', ...(namesFiles(args) ? [] : FILES), ...args],
    {
      cwd: root,
      stdio: 'inherit',
      env: { ...process.env, PATCHLIGHT_FAULTS: 'full', PATCHLIGHT_FIGURES: figures },
    },
  );
  if (status !== 0) throw new Trouble('A reliability test failed: docs/reliability.md is as it was.');
}

function readFigures(file) {
  if (!existsSync(file)) throw new Trouble('No test recorded a figure: docs/reliability.md is as it was.');
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
}

const byText = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
const cell = (text) => String(text).replaceAll('|', '\\|');

/** One table for each section. Sections and rows are sorted by text, so that the order of the tests does not matter. */
export function page(figures) {
  const sections = [...new Set(figures.map(({ section }) => section))].sort(byText);
  const tables = sections.map((section) => {
    const rows = figures
      .filter((figure) => figure.section === section)
      .sort((a, b) => byText(a.provoked, b.provoked))
      .map(
        ({ provoked, times, held }) =>
          `| ${cell(provoked)} | ${times.toLocaleString('en-US')} | ${cell(held)} |`,
      );
    return `\n## ${section}\n\n| provoked | times | what held |\n|---|--:|---|\n${rows.join('\n')}\n`;
  });
  return `${INTRODUCTION}${tables.join('')}`;
}

/** The figures of a page, as the tests recorded them. */
export function figuresOf(text) {
  let section = '';
  return text.split('\n').flatMap((line) => {
    if (line.startsWith('## ')) section = line.slice(3);
    const [, provoked, times, held] = /^\| (.*) \| ([\d,]+) \| (.*) \|$/.exec(line) ?? [];
    if (provoked === undefined) return [];
    const text = (part) => part.replaceAll('\\|', '|');
    return [
      { section, provoked: text(provoked), times: Number(times.replaceAll(',', '')), held: text(held) },
    ];
  });
}

/** The page of the new figures. Sections without new figures keep their `earlier` ones. */
export function updated(earlier, recorded) {
  const sections = new Set(recorded.map(({ section }) => section));
  return page([...earlier.filter(({ section }) => !sections.has(section)), ...recorded]);
}

const PAGE = 'docs/reliability.md';

async function run() {
  install();
  const args = process.argv.slice(2);
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-faults-'));
  try {
    const figures = join(folder, 'figures.jsonl');
    runTests(figures, args);
    mkdirSync(join(root, 'docs'), { recursive: true });
    const path = join(root, PAGE);
    const earlier = namesFiles(args) && existsSync(path) ? figuresOf(readFileSync(path, 'utf8')) : [];
    writeFileSync(path, updated(earlier, readFigures(figures)));
    console.log(`${PAGE} is written.`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (isMain(import.meta.url)) await runMain(run);
