// Bundles every command of src/cli and the library (src/index.ts) into dist/. Native modules (webgpu, sharp) are external.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { isMain, replaceFile, root, runMain, Trouble } from './common.mjs';
import { install } from './setup.mjs';
import { linkFile } from './wgsl.mjs';

const dist = join(root, 'dist');

/** Entry points: files of src/cli that start with a node `#!` line, and src/index.ts. */
function entryPoints() {
  const folder = join(root, 'src/cli');
  const commands = (existsSync(folder) ? readdirSync(folder) : [])
    .map((name) => join(folder, name))
    .filter((file) => file.endsWith('.ts') && readFileSync(file, 'utf8').startsWith('#!/usr/bin/env node\n'));
  return [...commands, join(root, 'src/index.ts')].filter((file) => existsSync(file));
}

/** Replaces the file atomically, and only if it differs, because a command may be starting from it right now. */
function writeIfChanged(path, contents) {
  if (existsSync(path) && readFileSync(path).equals(contents)) return;
  replaceFile(path, contents, contents.subarray(0, 2).toString() === '#!' ? 0o755 : 0o644);
}

/** A kernel's linked text is its module's default export. */
const kernels = {
  name: 'kernels',
  setup({ onLoad }) {
    onLoad({ filter: /\.wgsl$/ }, ({ path }) => {
      try {
        return { contents: linkFile(relative(root, path).replaceAll('\\', '/')), loader: 'text' };
      } catch (error) {
        return { errors: [{ text: error.message }] };
      }
    });
  },
};

/** Builds dist/. esbuild prints its own errors. */
export async function build() {
  install();
  const esbuild = await import('esbuild');
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const options = {
    absWorkingDir: root,
    entryPoints: entryPoints(),
    outdir: dist,
    write: false,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['webgpu', 'sharp'],
    plugins: [kernels],
    define: { __VERSION__: JSON.stringify(version) },
    // CommonJS packages in the bundle call require for Node's own modules.
    banner: {
      js: "import { createRequire as createRequireOfBundle } from 'node:module';\nconst require = createRequireOfBundle(import.meta.url);",
    },
    legalComments: 'none',
    logLevel: 'warning',
  };
  const { outputFiles } = await esbuild.build(options).catch(() => {
    throw new Trouble('The build failed; esbuild says why above.');
  });
  mkdirSync(dist, { recursive: true });
  // Bundles of commands that no longer exist.
  const names = outputFiles.map((file) => basename(file.path));
  for (const name of readdirSync(dist))
    if (name.endsWith('.js') && !names.includes(name)) rmSync(join(dist, name));
  for (const file of outputFiles) writeIfChanged(join(dist, basename(file.path)), Buffer.from(file.contents));
  await esbuild.stop();
  return names;
}

if (isMain(import.meta.url)) {
  await runMain(async () => {
    const started = performance.now();
    const names = await build();
    console.log(
      `dist/: ${names.join(', ') || 'nothing to build'}  ${((performance.now() - started) / 1000).toFixed(2)} s`,
    );
  });
}
