import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { linkFile } from './scripts/wgsl.mjs';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

// test/faults/bugs.test.ts plants a bug here, to see that the tests catch it.
const bug = process.env.PATCHLIGHT_PLANT ? JSON.parse(process.env.PATCHLIGHT_PLANT) : null;
const planted = (id: string, source: string): string =>
  bug && `/${id}`.endsWith(`/${bug.path}`) ? source.replace(bug.from, () => bug.to) : source;

export default defineConfig({
  plugins: [
    {
      // As scripts/build.mjs: a kernel's linked text is its module's default export.
      name: 'wgsl',
      enforce: 'pre',
      load(id) {
        if (!id.endsWith('.wgsl')) return;
        const path = relative(import.meta.dirname, id).replaceAll('\\', '/');
        return `export default ${JSON.stringify(linkFile(path, planted))};`;
      },
    },
    {
      name: 'planted bug',
      enforce: 'pre',
      transform: (source, id) => (id.endsWith('.ts') ? planted(id, source) : undefined),
    },
  ],
  define: { __VERSION__: JSON.stringify(version) },
  test: {
    include: ['test/**/*.test.{ts,mjs}'],
    // A process per file, one at a time: a software adapter uses every core, and a lost device takes only its own file along.
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
