// The package as others get it: packed, put into a folder elsewhere, imported, type-checked, bundled for a page, run as a command.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { testExamples } from './package_examples.mjs';
import { root, withPackage } from './packed.mjs';

const MOST_BYTES = 750e3;
const packageOf = withPackage();
const installed = (...names) => packageOf().path(...names);
const node = (...args) => packageOf().node(...args);

/** The first TypeScript program of a document, without its path into a checkout. */
function programOf(document) {
  const [, text] = /^```ts\n([\s\S]*?)^```/m.exec(readFileSync(join(root, document), 'utf8'));
  return text;
}

it(`has at most ${MOST_BYTES / 1e3} kB`, () => {
  expect(statSync(packageOf().tarball).size).toBeLessThanOrEqual(MOST_BYTES);
});

it('depends on nothing but native modules, which are optional', () => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(installed('package.json'), 'utf8'));
  expect(dependencies).toBeUndefined();
  expect(Object.keys(optionalDependencies).sort()).toEqual(['sharp', 'webgpu']);
});

describe('the program of the README', () => {
  beforeAll(() => writeFileSync(join(packageOf().folder, 'program.ts'), programOf('README.md')));

  it('has at most fifteen lines and imports the package', () => {
    const program = programOf('README.md');
    expect(program.trim().split('\n').length).toBeLessThanOrEqual(15);
    expect(program).toContain("from 'patchlight'");
  });

  it('runs from another folder and prints a falling loss', () => {
    writeFileSync(join(packageOf().folder, 'program.mjs'), programOf('README.md'));
    const { stdout, stderr, status } = node('program.mjs');
    expect(status, stderr).toBe(0);
    const losses = [...stdout.matchAll(/loss (\d+\.\d+)/g)].map(([, loss]) => Number(loss));
    expect(losses.length).toBeGreaterThan(2);
    expect(losses.at(-1)).toBeLessThan(losses[0]);
  });

  it.each([
    ['strictly, with the DOM’s types', ['--lib', 'es2023,dom', '--types', '']],
    ['with the types of WebGPU alone', ['--lib', 'es2023,dom', '--types', '@webgpu/types', '--skipLibCheck']],
  ])('is type-checked %s', (_, flags) => {
    const { stdout, status } = packageOf().typeCheck(...flags, 'program.ts');
    expect(status, stdout).toBe(0);
  });

  it('is bundled for a page without anything of Node', () => {
    const { stderr, status } = packageOf().esbuild(
      'program.ts',
      '--bundle',
      '--format=esm',
      '--outfile=page.js',
    );
    expect(status, stderr).toBe(0);
    const page = readFileSync(join(packageOf().folder, 'page.js'), 'utf8');
    expect(page).not.toMatch(/["']node:|require\(["']/);
    expect(page.length).toBeLessThan(600e3);
  });
});

it('patchlight/node has what needs files', () => {
  const code =
    "const { Trainer, RunDirectory, openDataset, decodeImage, Gpu } = await import('patchlight/node'); console.log([Trainer, RunDirectory, openDataset, decodeImage, Gpu].every((it) => typeof it === 'function'))";
  expect(node('--input-type=module', '--eval', code).stdout.trim()).toBe('true');
});

it.each([
  [
    'webgpu',
    "(await import('patchlight')).Gpu.open()",
    /^The package webgpu, .*Install it: npm install webgpu\.$/,
  ],
  [
    'sharp',
    "(await import('patchlight/node')).decodeImage('node_modules/patchlight/package.json', { channels: 3, height: 8, width: 8 })",
    /^The package sharp, .*Install it: npm install sharp\.$/,
  ],
])('says what to install where %s is missing', (name, code, says) => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'patchlight-bare-'));
  mkdirSync(join(elsewhere, 'node_modules'));
  execFileSync('cp', ['-r', installed(), join(elsewhere, 'node_modules')]);
  const script = `${code}.then(() => console.log('none'), (error) => console.log(error.message))`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    cwd: elsewhere,
    encoding: 'utf8',
  });
  rmSync(elsewhere, { recursive: true });
  expect(stdout.trim(), name).toMatch(says);
});

describe('patchlight', () => {
  const patchlight = (...args) => node(installed('dist', 'patchlight.js'), ...args);

  it('names its commands', () => {
    expect(JSON.parse(readFileSync(installed('package.json'), 'utf8')).bin).toEqual({
      patchlight: 'dist/patchlight.js',
    });
    const { stdout, status } = patchlight('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Commands: train, evaluate, predict, sweep, augment, bench, check\./m);
  });

  it('refuses another one in a sentence, with exit code 2', () => {
    const { stderr, status } = patchlight('fly');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^patchlight: there is no command called fly\./);
  });

  it('trains, reports, and says how to go on by its own name', () => {
    const small = [
      '--embed-dim',
      '16',
      '--depth',
      '1',
      '--num-heads',
      '2',
      '--patch-size',
      '16',
      '--limit-train',
      '64',
    ];
    const run = ['train', '--dataset', 'shapes10', ...small, '--epochs', '1', '--output', 'run'];
    const { stdout, stderr, status } = patchlight(...run);
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('Evaluate: patchlight evaluate run');
    expect(existsSync(join(packageOf().folder, 'run', 'history.json'))).toBe(true);
    const evaluated = patchlight('evaluate', 'run', '--json');
    expect(JSON.parse(evaluated.stdout).images, evaluated.stderr).toBe(2000);
  });
});

testExamples(packageOf);
