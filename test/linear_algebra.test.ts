/** Linear algebra on the host: eigenvalues, factors and orthonormal vectors, against their definitions and known answers. */
import { describe, expect, it } from 'vitest';
import { symmetricEigen } from '../src/core/eigen.js';
import { balancedFactors, orthonormal } from '../src/core/factors.js';
import { gram } from '../src/core/products.js';
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

/** a (n, m) · bᵀ (k, m), or with `across` aᵀ · b of matrices with the same number of rows. */
function product(a: Float64Array, b: Float64Array, m: number, across = false): Float64Array {
  const [rows, columns] = across ? [m, m] : [a.length / m, b.length / m];
  const inner = across ? a.length / m : m;
  const at = (x: Float64Array, outer: number, k: number) => (across ? x[k * m + outer]! : x[outer * m + k]!);
  return Float64Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += at(a, Math.floor(i / columns), k) * at(b, i % columns, k);
    return sum;
  });
}

const largest = (values: Float64Array): number => values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);

it.each([1, 2, 3, 4, 5, 8, 9])('the Gram matrix of %i rows is the sum of their products', (count) => {
  const counter = new Counter(3, count);
  const rows = Float64Array.from({ length: 5 * count }, () => counter.normal());
  const fills = Array.from(
    { length: count },
    (_, i) => (into: Float64Array) => into.set(rows.subarray(5 * i, 5 * i + 5)),
  );
  const found = gram(5, fills);
  for (const [i, expected] of product(rows, rows, 5, true).entries())
    expect(found[i]).toBeCloseTo(expected, 12);
});

describe('balancedFactors', () => {
  const counter = new Counter(11, 1);
  const n = 24;
  const A = matrix(n, (i, j) => counter.normal() + 3 * Number(i === j));

  it.each([1, 7, 23, 24])('of rank %i: nothing of that rank is nearer', (rank) => {
    const { left, right } = balancedFactors(A, n, rank);
    const near = product(left, right, n, true);
    const rest = A.map((value, i) => value - near[i]!);
    // Eckart and Young: the rest shares no direction with the factors, and none of it is longer than what they keep.
    expect(largest(product(rest, right, n))).toBeLessThan(1e-11); // rest · v
    expect(
      largest(
        product(
          left,
          rest.map((_, i) => rest[(i % n) * n + Math.floor(i / n)]!),
          n,
        ),
      ),
    ).toBeLessThan(1e-11);
    const [mine, its] = [product(left, left, n), product(right, right, n)];
    const kept = Array.from({ length: rank }, (_, i) => mine[i * rank + i]!);
    const longest = Math.sqrt(symmetricEigen(product(rest, rest, n), n).values[0]!);
    expect(longest).toBeLessThanOrEqual(Math.min(...kept) + 1e-6);
    // Both factors have orthogonal rows of squared length σ.
    for (let i = 0; i < rank; i++)
      for (let j = 0; j < rank; j++) {
        const expected = i === j ? kept[i]! : 0;
        expect(Math.abs(mine[i * rank + j]! - expected)).toBeLessThan(1e-10);
        expect(Math.abs(its[i * rank + j]! - expected)).toBeLessThan(1e-10);
      }
  });

  it('of all ranks multiply to the matrix, a singular one too', () => {
    for (const whole of [A, ofRank(n, 5), new Float64Array(n * n)]) {
      const { left, right } = balancedFactors(whole, n, n);
      const again = product(left, right, n, true);
      expect(largest(again.map((value, i) => value - whole[i]!))).toBeLessThan(1e-12 * (1 + largest(whole)));
    }
  });
});

/** Q (columns, rows) of A = Q · R by Givens rotations, with R's diagonal made positive; the columns of Q one after another. */
function givens(A: Float64Array, rows: number, columns: number): Float64Array {
  const R = A.slice();
  const Q = matrix(rows, (i, j) => Number(i === j)); // its rows are the columns of the product of all rotations
  const turn = (x: Float64Array, width: number, i: number, k: number, c: number, s: number) => {
    for (let j = 0; j < width; j++) {
      const [a, b] = [x[i * width + j]!, x[k * width + j]!];
      x[i * width + j] = c * a + s * b;
      x[k * width + j] = c * b - s * a;
    }
  };
  for (let j = 0; j < columns; j++)
    for (let i = j + 1; i < rows; i++) {
      const [a, b] = [R[j * columns + j]!, R[i * columns + j]!];
      const r = Math.sqrt(a * a + b * b);
      turn(R, columns, j, i, a / r, b / r);
      turn(Q, rows, j, i, a / r, b / r);
    }
  return Float64Array.from({ length: columns * rows }, (_, at) => {
    const j = Math.floor(at / rows);
    return Q[at]! * Math.sign(R[j * columns + j]!);
  });
}

it.each([
  [1, 1],
  [3, 3],
  [4, 9],
  [40, 40],
  [48, 192],
])('%i orthonormal vectors of %i elements are Q of the QR decomposition', (count, length) => {
  const draw = new Counter(5, count);
  const found = orthonormal(count, length, () => draw.normal());
  const again = new Counter(5, count);
  const columns = Float64Array.from({ length: count * length }, () => again.normal());
  const A = Float64Array.from(
    { length: count * length },
    (_, i) => columns[(i % count) * length + Math.floor(i / count)]!,
  );
  const expected = givens(A, length, count);
  expect(largest(found.map((value, i) => value - expected[i]!))).toBeLessThan(1e-10);
  const products = product(found, found, length);
  for (let i = 0; i < count; i++)
    for (let j = 0; j < count; j++)
      expect(Math.abs(products[i * count + j]! - Number(i === j))).toBeLessThan(1e-11);
});

it('a vector without a direction of its own is drawn again', () => {
  const draws = [1, 0, 2, 0, 0, 3];
  expect([...orthonormal(2, 2, () => draws.shift()!)]).toEqual([1, 0, 0, 1]);
  expect(draws).toEqual([]);
});
