/** What the documents show is so: tables are tables, links lead somewhere, flags exist, and programs run. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transformSync } from 'esbuild';
import sharp from 'sharp';
import { describe, expect, it, onTestFinished } from 'vitest';
import { withBuild } from './faults/commands.js';

const ROOT = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const documents = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'examples/README.md'],
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** The lines of a document. Lines in fenced blocks are emptied, which keeps the line numbers. */
function prose(text: string): string[] {
  let fenced = false;
  return text.split('\n').map((line) => {
    const fence = /^\s*```/.test(line);
    if (fence) fenced = !fenced;
    return fence || fenced ? '' : line;
  });
}

/** GitHub splits a row at every bar that is not escaped, even inside of code. */
const cells = (row: string): number =>
  row
    .trim()
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/).length;

/** Rows without a header, and rows with another number of cells than their header. */
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

/** The anchors that GitHub gives to a document's headings. */
const anchors = (text: string): string[] =>
  prose(text)
    .filter((line) => line.startsWith('#'))
    .map((line) =>
      line
        .replace(/^#+ /, '')
        .toLowerCase()
        .replace(/[^\w -]/g, '')
        .replaceAll(' ', '-'),
    );

/** Relative links to files that do not exist, or to headings that their documents do not have. */
function deadLinks(file: string): string[] {
  const links = [
    ...prose(read(file))
      .join('\n')
      .matchAll(/\]\(([^)\s]+)\)/g),
  ].map(([, to]) => to as string);
  return links
    .filter((to) => !/^[a-z]+:/.test(to))
    .filter((to) => {
      const [name, anchor] = to.split('#') as [string, string | undefined];
      const path = name === '' ? file : join(dirname(file), name);
      if (!existsSync(join(ROOT, path))) return true;
      return anchor !== undefined && !anchors(read(path)).includes(anchor);
    });
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

it.each(documents)('links of %s lead to files and headings that exist', (file) => {
  expect(deadLinks(file)).toEqual([]);
});

describe('Markdown', () => {
  const tooWide = (text: string): string[] => text.split('\n').filter((line) => line.length > 130);
  const written = ['docs/ops.md', 'docs/reliability.md', 'docs/speedrun.md']; // by scripts
  const handwritten = documents.filter((file) => !written.includes(file));

  it.each(handwritten)('lines of %s are at most 130 characters', (file) => {
    expect(tooWide(read(file))).toEqual([]);
  });

  it('the first page is short', () => {
    expect(read('README.md').trimEnd().split('\n').length).toBeLessThanOrEqual(130);
  });
});

it('docs/kernels.md shows the top of a kernel as it is', () => {
  const [, file, top] =
    /^The top of `(.+)`:\n\n```wgsl\n([\s\S]*?)^```$/m.exec(read('docs/kernels.md')) ?? [];
  expect(read(file as string).startsWith(top as string)).toBe(true);
});

describe('with a build', () => {
  withBuild();

  /** Runs a program that imports the library, from another folder; returns what it prints. */
  function output(program: string): string {
    const folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'program.mjs');
    const built = (name: string) => pathToFileURL(join(ROOT, 'dist', name)).href;
    writeFileSync(
      file,
      transformSync(program, { loader: 'ts' })
        .code.replace(/'patchlight'|"patchlight"/g, `'${built('index.js')}'`)
        .replace(/"patchlight\/node"|'patchlight\/node'/g, `'${built('node.js')}'`),
    );
    const { status, stdout, stderr } = spawnSync(process.execPath, [file], {
      encoding: 'utf8',
      timeout: 100_000,
    });
    expect(status, stderr).toBe(0);
    return stdout;
  }

  /** Put behind the line that draws first values: whether parameters of one shape have values of their own. */
  const CHECK = `
const drawn = await training.arena.read(training.arena.values);
const [first, second] = [0, 1].map((block) => drawn.get(\`blocks.\${block}.attn.qkv.weight\`));
console.log(first.some((value, i) => value === second[i]) ? 'alike' : 'different');
`;

  it("the README's program runs as it stands, from weights that differ, and its loss falls", () => {
    const [, program] = /^## As a library\n[\s\S]*?^```ts\n([\s\S]*?)^```$/m.exec(read('README.md')) ?? [];
    const lines = (program as string).trimEnd().split('\n');
    expect(lines.length).toBeLessThanOrEqual(15);
    const drawn = lines.findIndex((line) => line.startsWith('const training = '));
    expect(drawn).toBeGreaterThan(0);
    const printed = output(lines.toSpliced(drawn + 1, 0, CHECK).join('\n'));
    const [weights, ...rows] = printed.trimEnd().split('\n');
    expect(weights).toBe('different');
    expect(rows.pop()).toMatch(/^\d+\.\d % of the test images$/);
    const losses = rows.map((row) => Number(/^step \d+ {2}loss (\d+\.\d{4})$/.exec(row)?.[1]));
    // Of ten classes none is likelier at first.
    expect(Math.abs((losses[0] as number) - Math.log(10))).toBeLessThan(0.5);
    expect(losses).toHaveLength(8);
    const mean = (values: number[]) => values.reduce((total, loss) => total + loss, 0) / values.length;
    expect(mean(losses.slice(4))).toBeLessThan(mean(losses.slice(0, 4)) - 0.02);
  });

  /** Every program of a document with what the block below it says that it prints, under the heading above it. */
  const programs = [
    ...read('docs/library.md').matchAll(
      /^## (.+)\n(?:(?!^## )[\s\S])*?^```ts\n([\s\S]*?)^```\n\n```text\n([\s\S]*?)^```$/gm,
    ),
  ].map(([, heading, program, prints]) => [heading, program, prints] as [string, string, string]);

  it.each(programs)(
    'docs/library.md: the program under "%s" prints what stands below it',
    (_, program, prints) => {
      expect(output(program)).toBe(prints);
    },
  );

  it('docs/library.md has no program that is not run', () => {
    expect(read('docs/library.md').match(/^```ts$/gm)).toHaveLength(programs.length);
  });

  const help = (...command: string[]) =>
    spawnSync(process.execPath, [...command, '--help'], { cwd: ROOT, encoding: 'utf8' }).stdout;
  const flagsOf = (text: string): string[] =>
    text.match(/(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*(?![\w-])/g) ?? [];
  /** `--no-shuffle` negates --shuffle. */
  const plain = (flag: string): string => flag.replace(/^--no-/, '--');

  /** Flags of programs that are not ours: TensorBoard, V8, esbuild. */
  const OTHERS = [
    '--logdir',
    '--semi-space-growth-factor',
    '--bundle',
    '--format',
    '--outfile',
    '--servedir',
  ];

  it('every flag in the documents is a flag of some command', () => {
    const commands = ['train', 'evaluate', 'predict', 'sweep', 'augment', 'bench', 'check'];
    const files = [...commands.map((name) => `dist/${name}.js`), 'bench/peers/run.mjs', 'scripts/gpu.mjs'];
    const helps = files.map((file) => help(file));
    const known = new Set([...helps.flatMap(flagsOf), ...OTHERS].map(plain));
    const unknown = documents.flatMap((file) =>
      flagsOf(read(file)).filter((flag) => !known.has(plain(flag))),
    );
    expect([...new Set(unknown)]).toEqual([]);
  });

  it('docs/training.md names every flag of train', () => {
    const named = new Set(flagsOf(read('docs/training.md')).map(plain));
    const flags = flagsOf(help('dist/train.js')).filter((flag) => !['--help', '--version'].includes(flag));
    expect(flags.length).toBeGreaterThan(50);
    expect([...new Set(flags.map(plain).filter((flag) => !named.has(flag)))]).toEqual([]);
  });
});

describe('the picture of a report', () => {
  it('is 1600 pixels wide and loads at once', async () => {
    const picture = readFileSync(join(ROOT, 'docs/report.png'));
    expect(picture.length).toBeLessThan(300_000);
    expect((await sharp(picture).metadata()).width).toBe(1600);
  });

  it.each([
    ['without a report', [], /^No file: name a report, such as runs\/NAME\/report\.html\.\n$/],
    [
      'without a browser',
      ['README.md'],
      /^A picture of a page needs a browser, and none of .+ is on the PATH\.\n$/,
    ],
  ])('is refused in a sentence %s', (_, args, says) => {
    const { status, stderr } = spawnSync(process.execPath, ['scripts/picture.mjs', ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, PATH: '' },
    });
    expect(stderr).toMatch(says);
    expect(status).toBe(1);
  });
});
