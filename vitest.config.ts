import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { defineConfig } from 'vitest/config';
import { linkFile } from './scripts/wgsl.mjs';

const { version } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));

// test/faults/bugs.test.ts plants a bug here, to see that the tests catch it.
const bug = process.env.PATCHLIGHT_PLANT ? JSON.parse(process.env.PATCHLIGHT_PLANT) : null;
const planted = (id: string, source: string): string =>
  bug && `/${id}`.endsWith(`/${bug.path}`) ? source.replace(bug.from, () => bug.to) : source;

/**
 * Test files with a line `// Alone: why`. They measure time or memory, so that nothing may run beside them. test/house.test.ts
 * looks for files that measure and lack the line.
 */
const folder = join(import.meta.dirname, 'test');
const alone = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((name) => /\.test\.(ts|mjs)$/.test(name))
  .filter((name) => /^\/\/ Alone: /m.test(readFileSync(join(folder, name), 'utf8')))
  .map((name) => `test/${name.replaceAll('\\', '/')}`);

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
    // A process per file, so that a lost device takes only its own file along.
    pool: 'forks',
    // The adapter has the tuning of the project, not that of the user who runs the tests.
    env: { XDG_CONFIG_HOME: join(folder, 'no-config'), APPDATA: join(folder, 'no-config') },
    setupFiles: ['test/equality.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    tags: [{ name: 'quick', description: 'npm run test:quick' }],
    projects: [
      {
        extends: true,
        test: {
          name: 'two at a time',
          include: ['test/**/*.test.{ts,mjs}'],
          exclude: alone,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
