// Alone: the page trains on both cores.
// The page that trains, driven as a visitor would.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serve } from '../../scripts/page.mjs';
import { buildPage } from '../../scripts/page_build.mjs';
import { commandOf, defaults } from '../../src/page/choices.ts';
import { browsers, isHere, withPage } from './browser.mjs';

const root = join(import.meta.dirname, '../..');
/** A model that even SwiftShader trains in seconds. */
const SMALL = 'embedDim=32&depth=1&numHeads=2&batchSize=32&seed=7';

let server;
let origin;
beforeAll(async () => {
  await buildPage();
  server = await serve(0);
  origin = `http://localhost:${server.address().port}/`;
});
afterAll(() => server?.close());

const data = (page) => page.evaluate(() => ({ ...document.documentElement.dataset }));
const said = (page) => page.$eval('.sentence', (element) => element.textContent);

/** Waits until the page's state satisfies `done`. A page that failed throws its sentence. */
async function until(page, done, seconds = 200) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; ) {
    const now = await data(page);
    if (now.state === 'error') throw new Error(await said(page));
    if (done(now)) return now;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Late: ${JSON.stringify(await data(page))} ${await said(page)}`);
}

const isDone = ({ state }) => state === 'done';
const isReady = ({ state }) => state === 'ready';

/** Clicks the button with this text. */
const click = (page, text) =>
  page.evaluate((wanted) => {
    const buttons = [...document.querySelectorAll('button')];
    buttons.find(({ textContent }) => textContent === wanted).click();
  }, text);

/** The bytes of the file that a click on a button downloads. */
async function downloaded(page, text) {
  await page.evaluate(() => {
    window.taken ??= [];
    const create = URL.createObjectURL;
    URL.createObjectURL = (blob) => {
      window.taken.push(blob);
      return create(blob);
    };
  });
  await click(page, text);
  const base64 = await page.evaluate(async () => {
    while (window.taken.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const bytes = new Uint8Array(await window.taken.pop().arrayBuffer());
    return btoa(bytes.reduce((all, byte) => all + String.fromCharCode(byte), ''));
  });
  return Buffer.from(base64, 'base64');
}

/** Node's losses for the settings of the page, and the accuracy of weights. */
const inNode = (command, ...args) => {
  const env = { ...process.env, MESA_SHADER_CACHE_DIR: undefined };
  return execFileSync(process.execPath, [join(root, 'dist', command), ...args], { encoding: 'utf8', env });
};

describe.each(browsers)('%s', (name) => {
  const here = it.skipIf(!isHere(name));
  const options = { timeout: 600_000 };

  here('trains by itself, live, without a complaint, with the losses of Node', options, async () => {
    const link = `?auto=1&dataset=shapes10&steps=10&${SMALL}`;
    const { loss, gaps } = await withPage(name, origin, async (page, complaints) => {
      await page.evaluateOnNewDocument(() => {
        window.gaps = [];
        let last = performance.now();
        setInterval(() => {
          window.gaps.push(performance.now() - last);
          last = performance.now();
        }, 10);
      });
      await page.goto(origin + link);
      const { loss, step } = await until(page, isDone);
      expect(step).toBe('10');
      expect(complaints).toEqual([]);
      return { loss: Number(loss), gaps: await page.evaluate(() => window.gaps) };
    });
    const folder = mkdtempSync(join(tmpdir(), 'patchlight-page-'));
    const choices = { ...defaults, embedDim: 32, depth: 1, numHeads: 2, batchSize: 32, seed: 7, steps: 10 };
    const [, script, ...flags] = commandOf(choices).split(' ');
    inNode(
      script.replace('dist/', ''),
      ...flags,
      '--log-interval',
      '1',
      '--output',
      join(folder, 'run'),
      '--quiet',
    );
    const lines = readFileSync(join(folder, 'run/steps.jsonl'), 'utf8').trim().split('\n');
    rmSync(folder, { recursive: true });
    const expected = JSON.parse(lines.at(-1)).loss;
    console.log(
      `${name}: the tenth loss is ${Math.abs(loss - expected).toExponential(1)} from Node's; ` +
        `longest gap of the main thread ${Math.max(...gaps).toFixed(0)} ms`,
    );
    expect(Math.abs(loss - expected)).toBeLessThanOrEqual(1e-5);
    // Compiling kernels takes seconds: it must not hold up the page.
    expect(Math.max(...gaps)).toBeLessThan(1000);
  });

  here('continues after a reload to the same bits, which Node evaluates alike', options, async () => {
    const link = `?steps=40&${SMALL}`;
    const run = (disturb) =>
      withPage(name, origin, async (page, complaints) => {
        await page.goto(origin + link);
        await until(page, isReady);
        await click(page, 'Train');
        if (disturb) await disturb(page);
        await until(page, isDone);
        expect(complaints).toEqual([]);
        const accuracy = /([\d.]+) % of the test images/.exec(await said(page))[1];
        return { weights: await downloaded(page, 'Download the weights'), accuracy };
      });
    const undisturbed = await run(null);
    const reloaded = await run(async (page) => {
      await until(page, ({ step }) => Number(step) >= 8);
      await page.evaluate(() => {
        Object.defineProperty(document, 'visibilityState', { get: () => 'hidden', configurable: true });
        document.dispatchEvent(new Event('visibilitychange'));
      });
      await page.waitForFunction(() => document.body.textContent.includes('Saved in this browser'));
      expect((await data(page)).state).toBe('training');
      await page.reload();
      await until(page, isReady);
      expect(await page.$eval('.go', ({ textContent }) => textContent)).toMatch(/of 40 steps done/);
      await click(page, 'Continue it');
    });
    expect(reloaded.weights.equals(undisturbed.weights)).toBe(true);
    const file = join(mkdtempSync(join(tmpdir(), 'patchlight-page-')), 'patchlight.safetensors');
    writeFileSync(file, reloaded.weights);
    const { top1, images } = JSON.parse(inNode('evaluate.js', file, '--dataset', 'shapes10', '--json'));
    rmSync(join(file, '..'), { recursive: true });
    expect(images).toBe(2000);
    expect((100 * top1).toFixed(1)).toBe(reloaded.accuracy);
  });

  here('shows the inside, the kernels and a drawing while it trains', options, async () => {
    await withPage(name, origin, async (page, complaints) => {
      await page.setViewport({ width: 1400, height: 1000 });
      await page.goto(`${origin}?steps=400&${SMALL}`);
      await until(page, isReady);
      await click(page, 'Train');
      await until(page, ({ step }) => Number(step) >= 6);
      const paper = await (await page.waitForSelector('.paper')).boundingBox();
      await page.evaluate(() => document.querySelector('.paper').scrollIntoView());
      const { x, y } = (await (await page.$('.paper')).boundingBox()) ?? paper;
      await page.mouse.move(x + 60, y + 60);
      await page.mouse.down();
      await page.mouse.move(x + 180, y + 180, { steps: 5 });
      await page.mouse.up();
      await page.waitForFunction(() => document.querySelectorAll('.bars li').length === 5, {
        timeout: 60_000,
      });
      const shares = await page.evaluate(() =>
        [...document.querySelectorAll('.bars li')].map((item) => Number(item.style.getPropertyValue('--p'))),
      );
      expect(shares).toEqual([...shares].sort((a, b) => b - a));
      expect(shares[0]).toBeGreaterThan(0.1 - 1e-6);
      await page.waitForFunction(() => document.querySelectorAll('.maps canvas').length === 2);
      expect(await page.$$eval('.lens li', (items) => items.length)).toBe(1);
      await page.waitForFunction(() => !document.querySelector('.box').disabled, { timeout: 60_000 });
      await page.evaluate(() =>
        [...document.querySelectorAll('.box')]
          .find(({ textContent }) => textContent.startsWith('MLP'))
          .click(),
      );
      await page.waitForFunction(() => document.querySelectorAll('.kernel pre').length === 2);
      await page.waitForFunction(() =>
        [...document.querySelectorAll('.kernel pre')].every(({ textContent }) =>
          textContent.includes('@compute'),
        ),
      );
      expect((await data(page)).state).toBe('training');
      await click(page, 'Pause');
      await until(page, isReady);
      expect(await said(page)).toMatch(/^Paused/);
      expect(complaints).toEqual([]);
    });
  });

  here('checks ops against float64, and gives the result away', options, async () => {
    await withPage(name, origin, async (page, complaints) => {
      await page.goto(`${origin}check.html?seconds=20`);
      const { checked, wrong } = await until(page, isDone, 500);
      expect(Number(checked)).toBeGreaterThan(20);
      expect(wrong).toBe('0');
      const result = JSON.parse(await downloaded(page, 'Download the results'));
      expect(result.rows.length).toBe(Number(checked));
      expect(result.ceilings.gflops).toBeGreaterThan(0);
      expect(result.bench.filter(({ op }) => op === 'linear').length).toBeGreaterThan(0);
      expect(complaints).toEqual([]);
    });
  });
});
