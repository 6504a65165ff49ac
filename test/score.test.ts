/** The figures of an evaluation, in cases small enough to compute by hand. */
import { expect, it } from 'vitest';
import { NonFiniteError } from '../src/core/errors.js';
import { confusedPairs, meanPrediction, probabilities, score } from '../src/training/score.js';

const classes = ['cat', 'dog', 'fox'];
/** Logits whose softmax is exactly the given probabilities. */
const logits = (...rows: number[][]) => Float64Array.from(rows.flat(), Math.log);

// Right with 0.7, wrong with 0.6, right with 0.5, wrong with 0.62 (in the bin of 0.6: (9/15, 10/15]).
const four = logits([0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.25, 0.5, 0.25], [0.62, 0.08, 0.3]);
const labels = [0, 1, 1, 2];

it('counts who was taken for whom', () => {
  const result = score(four, labels, classes);
  expect(result).toMatchObject({ images: 4, top1: 0.5, top5: 1 });
  expect(result.confusion).toEqual([
    [1, 0, 0],
    [1, 1, 0],
    [1, 0, 0],
  ]);
  expect(result.per_class).toEqual([
    { class: 'cat', images: 1, accuracy: 1 },
    { class: 'dog', images: 2, accuracy: 0.5 },
    { class: 'fox', images: 1, accuracy: 0 },
  ]);
  expect(result.loss).toBeCloseTo(-(Math.log(0.7) + Math.log(0.3) + Math.log(0.5) + Math.log(0.3)) / 4, 12);
  expect(confusedPairs(result, 10)).toEqual([
    { actual: 'dog', predicted: 'cat', images: 1, share: 0.5 },
    { actual: 'fox', predicted: 'cat', images: 1, share: 1 },
  ]);
  expect(confusedPairs(result, 1)).toHaveLength(1);
});

it('measures calibration over bins that are open below', () => {
  // |0.5 - 1| / 4, |0.7 - 1| / 4, and one bin with 0.61 and 0.62, both wrong: |1.23 / 2 - 0| * 2 / 4.
  const rows = logits([0.7, 0.2, 0.1], [0.61, 0.29, 0.1], [0.25, 0.5, 0.25], [0.62, 0.08, 0.3]);
  const { ece, reliability } = score(rows, labels, classes);
  expect(ece).toBeCloseTo((0.5 + 0.3 + 1.23) / 4, 12);
  expect(reliability).toHaveLength(15);
  expect(
    reliability
      .filter(({ images }) => images > 0)
      .map(({ lower, images }) => [Math.round(15 * lower), images]),
  ).toEqual([
    [7, 1],
    [9, 2],
    [10, 1],
  ]);
  const [, middle] = reliability.filter(({ images }) => images > 0);
  expect(middle).toMatchObject({ accuracy: 0 });
  expect(middle!.confidence).toBeCloseTo(0.615, 12);
  expect(reliability[0]).toMatchObject({ images: 0, accuracy: null, confidence: null });
});

it('is certain and right: calibrated, whatever the size of the logits', () => {
  const result = score([900, 0, -900], [0], classes);
  expect(result).toMatchObject({ top1: 1, loss: 0, ece: 0 });
  expect(result.reliability.at(-1)).toMatchObject({ images: 1, confidence: 1, accuracy: 1 });
  expect(score([900, 0, -900], [2], classes).loss).toBe(1800);
});

it('ranks equal logits in the order of the classes', () => {
  expect(score([1, 1, 1], [0], classes).top1).toBe(1);
  expect(score([1, 1, 1], [1], classes).top1).toBe(0);
  const seven = Array.from({ length: 7 }, (_, i) => `c${i}`);
  expect(score(Array(7).fill(0), [4], seven).top5).toBe(1);
  expect(score(Array(7).fill(0), [5], seven).top5).toBe(0);
});

it('averages probabilities, not logits', () => {
  const [a, b] = [logits([0.9, 0.05, 0.05]), logits([0.1, 0.8, 0.1])];
  const mean = probabilities(meanPrediction(a, b, 3));
  [0.5, 0.425, 0.075].forEach((p, c) => {
    expect(mean[c]).toBeCloseTo(p, 12);
  });
});

it('refuses logits that are no numbers', () => {
  expect(() => score([Number.NaN, 0, 0], [0], classes)).toThrow(NonFiniteError);
  expect(() => score([Number.POSITIVE_INFINITY, 0, 0], [0], classes)).toThrow(/not finite/);
});
