/** The eigen-solver for symmetric matrices: against the definition, and against matrices whose eigenvalues are known. */
import { describe, expect, it } from 'vitest';
import { symmetricEigen } from '../src/core/eigen.js';
import { Counter } from '../src/core/rng.js';

const matrix = (n: number, value: (i: number, j: number) => number): Float64Array =>
  Float64Array.from({ length: n * n }, (_, at) => value(Math.floor(at / n), at % n));

function random(n: number, seed: number): Float64Array {
  const counter = new Counter(seed, 1);
  const half = matrix(n, () => counter.normal());
  return matrix(n, (i, j) => half[i * n + j]! + half[j * n + i]!);
}

/** B · Bᵀ of rank r, whose other eigenvalues are zero. */
function ofRank(n: number, r: number): Float64Array {
  const counter = new Counter(7, 1);
  const B = Float64Array.from({ length: n * r }, () => counter.normal());
  return matrix(n, (i, j) =>
    B.subarray(i * r, (i + 1) * r).reduce((sum, b, k) => sum + b * B[j * r + k]!, 0),
  );
}

const known: [string, number, Float64Array, (i: number) => number][] = [
  ['one element', 1, Float64Array.of(-3), () => -3],
  ['zeros', 5, new Float64Array(25), () => 0],
  ['the identity', 6, matrix(6, (i, j) => Number(i === j)), () => 1],
  ['a diagonal', 7, matrix(7, (i, j) => (i === j ? ((i * 3) % 7) - 3 : 0)), (i) => 3 - i],
  ['ones', 8, matrix(8, () => 1), (i) => (i === 0 ? 8 : 0)],
  [
    // The second difference: 2 − 2 cos(kπ/(n + 1)).
    'the second difference',
    101,
    matrix(101, (i, j) => (i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0)),
    (i) => 2 - 2 * Math.cos(((101 - i) * Math.PI) / 102),
  ],
  ['the exchange', 4, matrix(4, (i, j) => Number(i + j === 3)), (i) => (i < 2 ? 1 : -1)],
];

const cases: [string, number, Float64Array][] = [
  ...known.map(([name, n, A]): [string, number, Float64Array] => [name, n, A]),
  ['two random numbers a side', 2, random(2, 1)],
  ['three random numbers a side', 3, random(3, 2)],
  ['48 random numbers a side', 48, random(48, 3)],
  ['192 random numbers a side', 192, random(192, 4)],
  ['rank 3 of 40', 40, ofRank(40, 3)],
  ['very large numbers', 9, random(9, 5).map((value) => value * 1e120)],
  ['very small numbers', 9, random(9, 6).map((value) => value * 1e-120)],
  ['a wide range', 12, matrix(12, (i, j) => (i === j ? 10 ** -i : 10 ** -(i + j + 2)))],
];

describe('symmetricEigen', () => {
  it.each(cases)('of %s: A · v = λ · v, v · w = 0, descending', (_, n, A) => {
    const before = A.slice();
    const { values, vectors } = symmetricEigen(A, n);
    expect(A).toEqual(before);
    const norm = Math.max(...values.map(Math.abs));
    const row = (i: number) => vectors.subarray(i * n, (i + 1) * n);
    for (let k = 0; k < n; k++) {
      const v = row(k);
      if (k > 0) expect(values[k]).toBeLessThanOrEqual(values[k - 1]!);
      for (let i = 0; i < n; i++) {
        const along = v.reduce((sum, x, j) => sum + A[i * n + j]! * x, 0);
        expect(Math.abs(along - values[k]! * v[i]!)).toBeLessThanOrEqual(n * 1e-15 * norm);
        const product = row(i).reduce((sum, x, j) => sum + x * v[j]!, 0);
        expect(Math.abs(product - Number(i === k))).toBeLessThanOrEqual(n * 1e-15 + 2e-15);
      }
    }
  });

  it.each(known)('of %s has the known eigenvalues', (_, n, A, value) => {
    const { values } = symmetricEigen(A, n);
    for (let i = 0; i < n; i++) expect(Math.abs(values[i]! - value(i))).toBeLessThanOrEqual(n * 1e-15);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('refuses %d', (value) => {
    expect(() => symmetricEigen(Float64Array.of(1, value, value, 1), 2)).toThrow(/finite/);
  });
});
