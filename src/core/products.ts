/** Products of vectors on the host, in float64. */

/** Σ aᵢ·bᵢ over the elements of a. */
export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

/** Rows that are added in one pass over the matrix. */
type Group = [Float64Array, Float64Array, Float64Array, Float64Array];

/** Σ p·pᵀ (n, n) over rows p (n), in float64. Each of `rows` is a function that writes all elements of a row. */
export function gram(n: number, rows: Iterable<(row: Float64Array) => void>): Float64Array {
  const row = () => new Float64Array(n);
  const group: Group = [row(), row(), row(), row()];
  const sum = new Float64Array(n * n);
  let filled = 0;
  for (const fill of rows) {
    fill(group[filled++] as Float64Array);
    if (filled < group.length) continue;
    addLower(sum, group);
    filled = 0;
  }
  for (const rest of group.slice(filled)) rest.fill(0);
  if (filled > 0) addLower(sum, group);
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) sum[j * n + i] = sum[i * n + j] as number;
  return sum;
}

/** Adds the outer products of four rows on and below the diagonal. */
function addLower(sum: Float64Array, [p, q, r, s]: Group): void {
  const n = p.length;
  for (let i = 0; i < n; i++) {
    const [pi, qi, ri, si] = [p[i] as number, q[i] as number, r[i] as number, s[i] as number];
    const row = sum.subarray(i * n, i * n + i + 1);
    for (let j = 0; j < row.length; j++) {
      const first = pi * (p[j] as number) + qi * (q[j] as number);
      row[j] = (row[j] as number) + first + ri * (r[j] as number) + si * (s[j] as number);
    }
  }
}
