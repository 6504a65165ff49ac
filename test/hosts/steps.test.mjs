// Alone: browsers and Deno compute on both cores.
// The engine as it is built for pages, in each host, against Node.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { hosts } from '../../scripts/hosts.mjs';
import { browsers, isHere, withPage, withServer } from './browser.mjs';
import { steps } from './program.mjs';

const root = join(import.meta.dirname, '../..');
const web = join(root, 'dist/web.js');

const inNode = (async () => steps(await import(join(root, 'dist/index.js'))))();

async function inDeno() {
  const program = join(import.meta.dirname, 'program.mjs');
  const script = `
    const { steps } = await import(${JSON.stringify(program)});
    console.log(JSON.stringify(await steps(await import(${JSON.stringify(web)}))));`;
  const { stdout } = await promisify(execFile)(hosts.deno(), ['eval', '--unstable-webgpu', script], {
    encoding: 'utf8',
  });
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

const inBrowser = (name) => {
  const file = (path) => join(import.meta.dirname, path);
  const files = { '/': file('page.html'), '/web.js': web, '/program.mjs': file('program.mjs') };
  return withServer(files, (origin) =>
    withPage(name, origin, async (page, complaints) => {
      await page.goto(origin);
      const result = await page.evaluate(() => window.result);
      expect(complaints.filter((text) => !text.startsWith('warn'))).toEqual([]);
      return result;
    }),
  );
};

const runs = { deno: inDeno, ...Object.fromEntries(browsers.map((name) => [name, () => inBrowser(name)])) };

describe.each(Object.keys(runs))('%s', (name) => {
  it.skipIf(!isHere(name))('trains with the losses of Node', { timeout: 300_000 }, async () => {
    const [expected, result] = [await inNode, await runs[name]()];
    const apart = result.losses.map((loss, i) => Math.abs(loss - expected.losses[i]));
    console.log(
      `${name}, ${result.name}: losses at most ${Math.max(...apart).toExponential(1)} from Node's; ` +
        `reading the weights takes ${result.readMs.toFixed(1)} ms`,
    );
    expect(result.losses.length).toBe(20);
    expect(result.losses.at(-1)).toBeLessThan(result.losses[0]);
    expect(Math.max(...apart)).toBeLessThanOrEqual(1e-5);
    expect(result.software).toBe(true);
    // Firefox, left alone, ends a wait after up to 100 ms.
    expect(result.readMs).toBeLessThan(50);
    if (!result.features.includes('subgroups'))
      expect(result.kernels.filter((kernel) => /subgroup|texture|layers|panel/.test(kernel))).toEqual([]);
  });
});
