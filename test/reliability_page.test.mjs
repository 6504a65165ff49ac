/** docs/reliability.md has the results that the reliability tests recorded, and can be updated in parts. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { figuresOf, page, updated } from '../scripts/faults.mjs';

const text = readFileSync(join(import.meta.dirname, '..', 'docs', 'reliability.md'), 'utf8');

it('the page says what its figures say', () => {
  const figures = figuresOf(text);
  expect(figures.length).toBeGreaterThan(50);
  expect(page(figures)).toBe(text);
});

it('figures that are recorded anew take the place of their whole section, and of no other', () => {
  const figure = (section, provoked, times) => ({ section, provoked, times, held: 'a | b' });
  const earlier = [figure('A', 'old', 1), figure('B', 'kept', 2000)];
  const recorded = [figure('A', 'new', 3), figure('C', 'more', 4)];
  expect(figuresOf(updated(earlier, recorded))).toEqual([recorded[0], earlier[1], recorded[1]]);
});
