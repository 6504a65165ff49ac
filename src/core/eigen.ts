/** Eigenvalues and eigenvectors of symmetric matrices on the host, in float64. Matrices are row-major. */
import { dot } from './products.js';

/** Eigenvalues in descending order; row i of `vectors` (n, n) is the unit eigenvector of value i. */
export interface Eigen {
  readonly values: Float64Array;
  readonly vectors: Float64Array;
}

/** A symmetric tridiagonal matrix, and the orthogonal matrix Q with A = Q · T · Qᵀ. */
interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** `beside[i]` is the element (i, i + 1). */
  readonly beside: Float64Array;
  /** Qᵀ, so that the columns of Q are contiguous. */
  readonly transposed: Float64Array;
}

/** Far more steps than the QR iteration ever takes for an eigenvalue: it takes about two. */
const MOST_STEPS = 60;

/**
 * The eigenvalues and eigenvectors of the symmetric matrix A (n, n): Householder's tridiagonalisation, then the implicit
 * symmetric QR algorithm with Wilkinson's shift (Golub and Van Loan, Matrix Computations, 8.3). Only square roots and
 * arithmetic are used, which IEEE 754 rounds in one way, so the bits are the same everywhere. Throws an Error if a value is
 * not finite.
 */
export function symmetricEigen(A: Float64Array, n: number): Eigen {
  if (!A.every(Number.isFinite)) throw new Error('Eigenvalues of a matrix need finite elements.');
  const { diagonal, beside, transposed } = tridiagonalise(A.slice(), n);
  for (let last = n - 1, steps = 0; last > 0; ) {
    if (isNegligible(diagonal, beside, last - 1)) {
      last--;
      steps = 0;
      continue;
    }
    let first = last - 1;
    while (first > 0 && !isNegligible(diagonal, beside, first - 1)) first--;
    if (++steps > MOST_STEPS) throw new Error('The eigenvalues of a matrix did not converge.');
    qrStep(diagonal, beside, transposed, first, last);
  }
  const order = Array.from(diagonal.keys()).sort((a, b) => (diagonal[b] as number) - (diagonal[a] as number));
  const vectors = new Float64Array(n * n);
  for (const [i, from] of order.entries()) vectors.set(transposed.subarray(from * n, (from + 1) * n), i * n);
  return { values: Float64Array.from(order, (i) => diagonal[i] as number), vectors };
}

/** True if the element beside the diagonal is lost in the rounding of its neighbours; it is then set to zero. */
function isNegligible(diagonal: Float64Array, beside: Float64Array, i: number): boolean {
  const size = Math.abs(diagonal[i] as number) + Math.abs(diagonal[i + 1] as number);
  if (Math.abs(beside[i] as number) > Number.EPSILON * size) return false;
  beside[i] = 0;
  return true;
}

/** Reduces A, which is overwritten, by one reflection H = I − v·vᵀ (v·v = 2) for each column. */
function tridiagonalise(A: Float64Array, n: number): Tridiagonal {
  const [diagonal, beside] = [new Float64Array(n), new Float64Array(Math.max(0, n - 1))];
  const reflections: (Float64Array | null)[] = [];
  for (let k = 0; k < n; k++) {
    diagonal[k] = A[k * n + k] as number;
    if (k + 1 < n) {
      const { v, length } = reflection(A.subarray(k * n + k + 1, (k + 1) * n));
      beside[k] = length;
      reflections.push(v);
      if (v) reflect(A, v, k + 1, n);
    }
  }
  // Qᵀ = H of the last column · … · H of the first: from the last one on, each meets only the rows and columns behind it.
  const transposed = new Float64Array(n * n);
  for (let i = 0; i < n; i++) transposed[i * n + i] = 1;
  for (let k = n - 2; k >= 0; k--) {
    const v = reflections[k];
    if (v) for (let i = k + 1; i < n; i++) project(transposed.subarray(i * n + k + 1, (i + 1) * n), v);
  }
  return { diagonal, beside, transposed };
}

/** The v with (I − v·vᵀ)·x = (length, 0, …, 0) and v·v = 2; null where x has this form already. */
function reflection(x: Float64Array): { v: Float64Array | null; length: number } {
  const first = x[0] as number;
  const largest = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (x.length === 1 || largest === 0) return { v: null, length: first };
  const v = x.map((value) => value / largest); // its squares neither overflow nor vanish
  const norm = Math.sqrt(dot(v, v));
  const start = v[0] as number;
  const length = start > 0 ? -norm : norm; // the opposite sign: the difference below cancels nothing
  v[0] = start - length;
  const scale = Math.sqrt(2 / dot(v, v));
  return { v: v.map((value) => value * scale), length: length * largest };
}

/** A ← H·A·H for the rows and columns from `from` on: A − v·wᵀ − w·vᵀ with p = A·v and w = p − v·(p·v)/2. */
function reflect(A: Float64Array, v: Float64Array, from: number, n: number): void {
  const row = (i: number) => A.subarray((from + i) * n + from, (from + i + 1) * n);
  const w = v.map((_, i) => dot(row(i), v));
  const half = dot(w, v) / 2;
  for (let i = 0; i < w.length; i++) w[i] = (w[i] as number) - half * (v[i] as number);
  for (let i = 0; i < v.length; i++) {
    const [target, vi, wi] = [row(i), v[i] as number, w[i] as number];
    for (let j = 0; j < target.length; j++)
      target[j] = (target[j] as number) - vi * (w[j] as number) - wi * (v[j] as number);
  }
}

/** x ← x·(I − v·vᵀ). */
function project(x: Float64Array, v: Float64Array): void {
  const along = dot(x, v);
  for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) - along * (v[i] as number);
}

/**
 * One implicit QR step on the rows `first` to `last` of the tridiagonal matrix: rotations (c s; −s c) of neighbouring rows
 * and columns chase the element that the first one pushes off the band.
 */
function qrStep(
  diagonal: Float64Array,
  beside: Float64Array,
  transposed: Float64Array,
  first: number,
  last: number,
): void {
  const at = (values: Float64Array, i: number) => values[i] as number;
  const n = diagonal.length;
  // Wilkinson's shift: the eigenvalue of the last 2 x 2 block that is nearer to its last element.
  const half = (at(diagonal, last - 1) - at(diagonal, last)) / 2;
  const corner = at(beside, last - 1);
  const root = Math.sqrt(half * half + corner * corner);
  const shift = at(diagonal, last) - (corner * corner) / (half + (half < 0 ? -root : root));
  let [x, z] = [at(diagonal, first) - shift, at(beside, first)];
  for (let k = first; k < last; k++) {
    const r = Math.sqrt(x * x + z * z);
    const [c, s] = r > 0 ? [x / r, z / r] : [1, 0];
    if (k > first) beside[k - 1] = r;
    const [a, b, d] = [at(diagonal, k), at(beside, k), at(diagonal, k + 1)];
    diagonal[k] = c * c * a + 2 * c * s * b + s * s * d;
    diagonal[k + 1] = s * s * a - 2 * c * s * b + c * c * d;
    beside[k] = c * s * (d - a) + (c * c - s * s) * b;
    if (k + 1 < last) {
      x = at(beside, k);
      z = s * at(beside, k + 1);
      beside[k + 1] = c * at(beside, k + 1);
    }
    rotate(transposed.subarray(k * n, (k + 1) * n), transposed.subarray((k + 1) * n, (k + 2) * n), c, s);
  }
}

/** (a, b) ← (c·a + s·b, c·b − s·a). */
function rotate(a: Float64Array, b: Float64Array, c: number, s: number): void {
  for (let i = 0; i < a.length; i++) {
    const [ai, bi] = [a[i] as number, b[i] as number];
    a[i] = c * ai + s * bi;
    b[i] = c * bi - s * ai;
  }
}
