import { readFileSync } from 'node:fs';
import { defineConfig } from 'vitest/config';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

// test/faults/bugs.test.ts plants a bug here, to see that the tests catch it.
const bug = process.env.PATCHLIGHT_PLANT ? JSON.parse(process.env.PATCHLIGHT_PLANT) : null;
const planted = (id: string, source: string): string =>
  bug && id.endsWith(`/${bug.path}`) ? source.replace(bug.from, () => bug.to) : source;

export default defineConfig({
  plugins: [
    {
      // What the build's text loader does: a kernel's source is the module's default export.
      name: 'wgsl',
      enforce: 'pre',
      load(id) {
        if (id.endsWith('.wgsl'))
          return `export default ${JSON.stringify(planted(id, readFileSync(id, 'utf8')))};`;
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
