// The programs of examples/, as a user runs them: copied to another folder, where the package is installed.
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { root } from './packed.mjs';

const programs = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.mjs'));

/** Copies a program with one change. */
function writeWith(file, to, before, after) {
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(before);
  writeFileSync(to, text.replace(before, after));
}

/** Adds tests to the file that calls it. `packageOf` is that of `withPackage`. */
export function testExamples(packageOf) {
  describe('the programs of examples/', () => {
    beforeAll(() => packageOf().copy('examples'));

    /** Runs a program that must succeed; returns its lines. */
    const lines = (...args) => {
      const { stdout, stderr, status } = packageOf().node(...args);
      expect(status, stderr).toBe(0);
      return stdout.trimEnd().split('\n');
    };

    it('stand in the table of their page', () => {
      const page = readFileSync(join(root, 'examples/README.md'), 'utf8');
      for (const name of [...programs, 'page/main.mjs']) expect(page).toContain(`](${name})`);
    });

    it('regression.mjs comes near the sine', () => {
      const errors = lines('examples/regression.mjs').map((line) => Number(/error (\S+)$/.exec(line)?.[1]));
      expect(errors).toHaveLength(3);
      expect(errors.at(-1)).toBeLessThan(errors[0]);
      expect(errors.at(-1)).toBeLessThan(5e-3); // 0.5 without learning anything
    });

    it('own_op.mjs finds its op right, and one with a planted fault wrong', () => {
      const printed = lines('examples/own_op.mjs');
      expect(printed.slice(0, 4)).toEqual([1, 3, 255, 1031].map((n) => `(${n})  chosen  right`));
      expect(printed.at(-1)).toMatch(/: 0, 1, 4$/);
      const file = join(packageOf().folder, 'examples/own_op.mjs');
      const faulty = join(packageOf().folder, 'examples/faulty_op.mjs');
      writeWith(file, faulty, 'slope = 2.0 *', 'slope = 2.1 *');
      expect(lines(faulty).slice(0, 4).join('\n')).toMatch(/gradient of x at/);
      writeWith(file, faulty, 'if (ACCUMULATE) { dx[i] += slope; }', 'if (ACCUMULATE) { dx[i] = slope; }');
      expect(lines(faulty).slice(0, 4).join('\n')).toMatch(/adding to the gradient of x/);
    });

    it('train.mjs learns and saves its weights, and classify.mjs names the shape of an image by them', async () => {
      const { folder } = packageOf();
      const weights = join(folder, 'vit.safetensors');
      const epochs = lines('examples/train.mjs', weights).filter((line) => line.startsWith('epoch'));
      const accuracies = epochs.map((line) => Number(/accuracy (\S+)$/.exec(line)?.[1]));
      expect(accuracies).toHaveLength(3);
      expect(accuracies.at(-1)).toBeGreaterThan(0.2); // one in ten by chance
      expect(statSync(weights).size).toBeGreaterThan(4 * 245_578);

      const image = join(folder, 'red.png');
      await sharp({ create: { width: 80, height: 64, channels: 3, background: 'red' } }).toFile(image);
      const likeliest = lines('examples/classify.mjs', weights, image);
      expect(likeliest).toHaveLength(3);
      for (const line of likeliest) expect(line).toMatch(/^ *\d+\.\d % {2}[a-z]+$/);
      expect(packageOf().node('examples/classify.mjs').status).toBe(2);
    });

    it('page/main.mjs is bundled for a page without anything of Node', () => {
      const { folder } = packageOf();
      const { stderr, status } = packageOf().esbuild(
        ...['examples/page/main.mjs', '--bundle', '--format=esm', '--outfile=examples/page/bundle.js'],
      );
      expect(status, stderr).toBe(0);
      expect(readFileSync(join(folder, 'examples/page/bundle.js'), 'utf8')).not.toMatch(/["']node:/);
      const html = readFileSync(join(folder, 'examples/page/index.html'), 'utf8');
      const [, script] = /<script type="module" src="(.+?)">/.exec(html);
      expect(existsSync(join(folder, 'examples/page', script))).toBe(true);
    });

    it('are strictly type-checked', () => {
      packageOf().link('@types', 'undici-types');
      const files = [...programs, 'page/main.mjs'].map((name) => join('examples', name));
      const { stdout, status } = packageOf().typeCheck(
        ...['--allowJs', '--checkJs', '--lib', 'es2023,dom', '--types', 'node', '--skipLibCheck', ...files],
      );
      expect(status, stdout).toBe(0);
    });
  });
}
