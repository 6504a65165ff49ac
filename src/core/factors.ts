/** Factors of matrices on the host, in float64: the truncated singular value decomposition, and orthonormal vectors. */
import { symmetricEigen } from './eigen.js';
import { dot, gram } from './products.js';

/** Two matrices (rank, n) whose product leftᵀ · right approximates a third one. */
export interface Factors {
  readonly left: Float64Array;
  readonly right: Float64Array;
}

/**
 * The best approximation of A (n, n) of the given rank, by the singular value decomposition A = Σ σᵢ·uᵢ·vᵢᵀ: the rows are
 * √σᵢ·uᵢ and √σᵢ·vᵢ, so both factors have one size.
 *
 * The vᵢ are the eigenvectors of Aᵀ·A, and uᵢ = A·vᵢ/σᵢ. Squaring costs small singular values half of their digits. The
 * product does not suffer: with all n vectors it is A·Σ vᵢ·vᵢᵀ = A, whatever the σᵢ.
 */
export function balancedFactors(A: Float64Array, n: number, rank: number): Factors {
  const rowsOfA = Array.from({ length: n }, (_, i) => A.subarray(i * n, (i + 1) * n));
  const fills = rowsOfA.map((row) => (into: Float64Array) => into.set(row));
  const { vectors } = symmetricEigen(gram(n, fills), n); // of Aᵀ·A
  const [left, right] = [new Float64Array(rank * n), new Float64Array(rank * n)];
  for (let i = 0; i < rank; i++) {
    const v = vectors.subarray(i * n, (i + 1) * n);
    const image = Float64Array.from(rowsOfA, (row) => dot(row, v)); // σ·u
    const root = Math.sqrt(Math.sqrt(dot(image, image)));
    for (let j = 0; j < n; j++) {
      left[i * n + j] = root > 0 ? (image[j] as number) / root : 0;
      right[i * n + j] = root * (v[j] as number);
    }
  }
  return { left, right };
}

/** A vector of a smaller squared length is rounding, and is drawn again; that happens once in a million square matrices. */
const NO_DIRECTION = 1e-12;

/**
 * `count` orthonormal vectors of `length` ≥ `count` elements, one after the other. Each is drawn from a normal distribution
 * and orthogonalised against those before it (modified Gram-Schmidt): Q of the QR decomposition whose R has a positive
 * diagonal, which is uniformly distributed over such matrices (Mezzadri, 2007).
 */
export function orthonormal(count: number, length: number, normal: () => number): Float64Array {
  const vectors = new Float64Array(count * length);
  for (let k = 0; k < count; k++) {
    const v = vectors.subarray(k * length, (k + 1) * length);
    do {
      for (let i = 0; i < length; i++) v[i] = normal();
      for (let j = 0; j < k; j++) {
        const before = vectors.subarray(j * length, (j + 1) * length);
        const along = dot(before, v);
        for (let i = 0; i < length; i++) v[i] = (v[i] as number) - along * (before[i] as number);
      }
    } while (dot(v, v) < NO_DIRECTION);
    const norm = Math.sqrt(dot(v, v));
    for (let i = 0; i < length; i++) v[i] = (v[i] as number) / norm;
  }
  return vectors;
}
