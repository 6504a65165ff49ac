// Builds dist/page/: the page that trains, its worker, the page that checks an adapter, and the kernels that they show.
import { copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { common, writeIfChanged } from './build.mjs';
import { root, Trouble } from './common.mjs';
import { linkFile } from './wgsl.mjs';

const source = join(root, 'src/page');
export const pageFolder = join(root, 'dist/page');

/** The scripts of the pages, and their workers. */
const SCRIPTS = ['main.tsx', 'worker.ts', 'check.tsx', 'check_worker.ts'];
/** Files that are copied as they are. */
const STATIC = /\.(html|svg)$/;

/** Every kernel with its comments, by the name that profiles have, for people who read it. */
function kernelTexts() {
  const folder = join(root, 'kernels');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.wgsl'),
  );
  const texts = files.map((name) => [
    basename(name, '.wgsl'),
    linkFile(relative(root, join(folder, name)).replaceAll('\\', '/')),
  ]);
  return Object.fromEntries(texts.filter(([, text]) => text.includes('@compute')));
}

/** Builds the page. esbuild prints its own errors. Packages must be installed. */
export async function buildPage() {
  const esbuild = await import('esbuild');
  const made = await esbuild
    .build({
      ...common(),
      outdir: pageFolder,
      entryPoints: SCRIPTS.map((name) => join(source, name)).filter((file) => existsSync(file)),
      platform: 'browser',
      target: 'es2022',
      splitting: true,
      jsx: 'automatic',
      jsxImportSource: 'preact',
    })
    .catch(() => {
      throw new Trouble('The page could not be built; esbuild says why above.');
    });
  rmSync(pageFolder, { recursive: true, force: true });
  mkdirSync(pageFolder, { recursive: true });
  for (const { path, contents } of made.outputFiles)
    writeIfChanged(join(pageFolder, basename(path)), Buffer.from(contents));
  for (const name of readdirSync(source).filter((name) => STATIC.test(name)))
    copyFileSync(join(source, name), join(pageFolder, name));
  writeIfChanged(join(pageFolder, 'kernels.json'), Buffer.from(JSON.stringify(kernelTexts())));
  writeIfChanged(join(pageFolder, 'datasets.json'), Buffer.from('[]')); // the server of `npm run page` says more
  await esbuild.stop();
}
