// Bundles every command of src/cli and the library into dist/: index.js and node.js for Node, web.js for pages and Deno. What
// several of them need is in files that they share. Native modules (webgpu, sharp) are external.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { isMain, replaceFile, root, runMain, Trouble } from './common.mjs';
import { install } from './setup.mjs';
import { linkFile } from './wgsl.mjs';

const dist = join(root, 'dist');

/** Entry points for Node: files of src/cli that start with a node `#!` line, and the library. */
function entryPoints() {
  const folder = join(root, 'src/cli');
  const commands = (existsSync(folder) ? readdirSync(folder) : [])
    .map((name) => join(folder, name))
    .filter((file) => file.endsWith('.ts') && readFileSync(file, 'utf8').startsWith('#!/usr/bin/env node\n'));
  const library = ['src/index.ts', 'src/node.ts']
    .map((file) => join(root, file))
    .filter((file) => existsSync(file));
  return [...commands, ...library].map((file) => ({ in: file, out: basename(file, '.ts') }));
}

/** Replaces the file atomically, and only if it differs, because a command may be starting from it right now. */
export function writeIfChanged(path, contents) {
  if (existsSync(path) && readFileSync(path).equals(contents)) return;
  replaceFile(path, contents, contents.subarray(0, 2).toString() === '#!' ? 0o755 : 0o644);
}

/** A kernel's text without comments, on the same lines. Those that the loader reads stay: origins, marks of loops and constants. */
const withoutComments = (text) =>
  text.replace(/[ \t]*\/\/ (?!from kernels|end of kernels|unroll$|tune$|if [A-Z]).*$/gm, '');

/** A kernel's linked text is its module's default export. */
export const kernels = {
  name: 'kernels',
  setup({ onLoad }) {
    onLoad({ filter: /\.wgsl$/ }, ({ path }) => {
      try {
        const text = linkFile(relative(root, path).replaceAll('\\', '/'));
        return { contents: withoutComments(text), loader: 'text' };
      } catch (error) {
        return { errors: [{ text: error.message }] };
      }
    });
  },
};

/** esbuild's options for all bundles. */
export const common = () => ({
  absWorkingDir: root,
  write: false,
  bundle: true,
  format: 'esm',
  minify: true,
  keepNames: true,
  plugins: [kernels],
  define: {
    __VERSION__: JSON.stringify(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version),
  },
  legalComments: 'none',
  logLevel: 'warning',
});

/** The plots' packages are a bundle of their own, without the names of their functions: these would be 4 % of the package. */
const PLOTS = 'vega';
const plotsApart = {
  name: 'plots apart',
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`^\\./${PLOTS}\\.js$`) }, ({ path }) => ({ path, external: true }));
  },
};

/** Builds dist/. esbuild prints its own errors. */
export async function build() {
  install();
  const esbuild = await import('esbuild');
  const shared = { ...common(), outdir: dist };
  const forNode = {
    ...shared,
    entryPoints: entryPoints(),
    plugins: [kernels, plotsApart],
    splitting: true,
    platform: 'node',
    target: 'node20',
    external: ['webgpu', 'sharp'],
    // CommonJS packages in the bundle call require for Node's own modules.
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
    },
  };
  const plots = {
    ...shared,
    entryPoints: [join(root, `src/report/${PLOTS}.ts`)],
    platform: 'node',
    target: 'node20',
    keepNames: false,
  };
  const forPages = {
    ...shared,
    entryPoints: existsSync(join(root, 'src/index.ts'))
      ? [{ in: join(root, 'src/index.ts'), out: 'web' }]
      : [],
    platform: 'browser',
    target: 'es2022',
  };
  const outputFiles = [];
  for (const options of [forNode, plots, forPages]) {
    const made = await esbuild.build(options).catch(() => {
      throw new Trouble('The build failed; esbuild says why above.');
    });
    outputFiles.push(...made.outputFiles);
  }
  mkdirSync(dist, { recursive: true });
  // Bundles of commands that no longer exist.
  const names = outputFiles.map((file) => basename(file.path));
  for (const name of readdirSync(dist))
    if (name.endsWith('.js') && !names.includes(name)) rmSync(join(dist, name));
  for (const file of outputFiles) writeIfChanged(join(dist, basename(file.path)), Buffer.from(file.contents));
  await esbuild.stop();
  return names.filter((name) => !name.startsWith('chunk-'));
}

/** Writes the declarations of the library into dist/types. */
export function buildTypes() {
  rmSync(join(dist, 'types'), { recursive: true, force: true });
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.types.json'], {
    cwd: root,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Trouble(`${stdout}The declarations could not be written.`);
}

// `node scripts/build.mjs types` is for the package: it writes declarations, too.
if (isMain(import.meta.url)) {
  await runMain(async () => {
    const started = performance.now();
    const names = await build();
    if (process.argv[2] === 'types') buildTypes();
    console.log(
      `dist/: ${names.join(', ') || 'nothing to build'}  ${((performance.now() - started) / 1000).toFixed(2)} s`,
    );
  });
}
