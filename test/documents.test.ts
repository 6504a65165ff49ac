/** What the documents show is so: tables are tables, links lead somewhere, and the README's program runs. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transformSync } from 'esbuild';
import { describe, expect, it, onTestFinished } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const documents = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md'],
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** The lines of a document, those of fenced blocks empty, so that numbers of lines stay. */
function prose(text: string): string[] {
  let fenced = false;
  return text.split('\n').map((line) => {
    const fence = /^\s*```/.test(line);
    if (fence) fenced = !fenced;
    return fence || fenced ? '' : line;
  });
}

/** GitHub splits a row at every bar but an escaped one, in code too. */
const cells = (row: string): number =>
  row
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/).length;

/** Rows that do not belong to a header, and rows of another width than theirs. */
function brokenTables(text: string): string[] {
  const problems: string[] = [];
  const lines = prose(text);
  let header: string | null = null;
  for (const [i, line] of lines.entries()) {
    if (!line.startsWith('|')) {
      header = null;
      continue;
    }
    if (header === null) {
      header = line;
      if (!/^\|[\s:|-]+\|$/.test(lines[i + 1] ?? '')) problems.push(`line ${i + 1} has no header above it`);
    } else if (cells(line) !== cells(header))
      problems.push(`line ${i + 1} has ${cells(line)} cells, its header ${cells(header)}`);
  }
  return problems;
}

/** Relative links to files that do not exist. */
function deadLinks(file: string): string[] {
  const links = [
    ...prose(read(file))
      .join('\n')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].map(([, to]) => to as string);
  return links
    .filter((to) => !/^([a-z]+:|#)/.test(to))
    .filter((to) => !existsSync(join(ROOT, dirname(file), to.replace(/#.*/, ''))));
}

describe('tables', () => {
  it.each([
    ['one that is whole', '| a | b |\n|---|---:|\n| 1 | 2 |\n', []],
    ['one with an escaped bar', '| a | b |\n|---|---|\n| `x \\| y` | 2 |\n', []],
    ['one in a fenced block', '```\n| a |\n\n| b | c |\n```\n', []],
    ['two', '| a |\n|---|\n| 1 |\n\n| b | c |\n|---|---|\n', []],
    ['one that a blank line breaks', '| a |\n|---|\n| 1 |\n\n| 2 |\n', ['line 5 has no header above it']],
    ['a row too wide', '| a |\n|---|\n| 1 | 2 |\n', ['line 3 has 2 cells, its header 1']],
    ['a rule too narrow', '| a | b |\n|---|\n', ['line 2 has 1 cells, its header 2']],
  ])('%s', (_, text, problems) => {
    expect(brokenTables(text)).toEqual(problems);
  });

  it.each(documents)('of %s are whole', (file) => {
    expect(brokenTables(read(file))).toEqual([]);
  });
});

it.each(documents)('links of %s lead to files that exist', (file) => {
  expect(deadLinks(file)).toEqual([]);
});

/** Put behind the program: whether parameters of one shape have values of their own. */
const CHECK = `
const drawn = await arena.read(arena.values);
const [first, second] = [0, 1].map((block) => drawn.get(\`blocks.\${block}.attn.qkv.weight\`));
console.log(first.some((value, i) => value === second[i]) ? 'alike' : 'different');
`;

it("the README's program runs as it stands, from weights that differ, and its loss is finite", () => {
  const [, program] = /^## As a library\n[\s\S]*?^```ts\n([\s\S]*?)^```$/m.exec(read('README.md')) ?? [];
  const built = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: ROOT, encoding: 'utf8' });
  expect(built.status, built.stderr).toBe(0);
  const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'program.mjs');
  const library = pathToFileURL(join(ROOT, 'dist/index.js')).href;
  const { code } = transformSync(program as string, { loader: 'ts' });
  writeFileSync(file, code.replace('./dist/index.js', library) + CHECK);
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    timeout: 100_000,
  });
  expect(status, stderr).toBe(0);
  const [, loss, weights] = /Float32Array\(1\) \[ (.+) \]\n(.+)\n$/.exec(stdout) ?? [];
  expect(weights).toBe('different');
  // Of ten classes none is likelier at first.
  expect(Math.abs(Number(loss) - Math.log(10))).toBeLessThan(0.5);
});
