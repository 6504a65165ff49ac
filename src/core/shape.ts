/** Shapes are row-major: the last axis is contiguous. */
import { ShapeError } from './errors.js';

export type Shape = readonly number[];

export const numel = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

/** `(64, 192)`, `(7,)`, `()` for a scalar: Python's way of writing a tuple, which users know. */
export const formatShape = (shape: Shape): string =>
  shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/** Product of all axes but the last: the number of rows that a last-axis operation sees. */
export const rowsOf = (shape: Shape): number => numel(shape.slice(0, -1));

export const lastAxis = (shape: Shape): number => shape[shape.length - 1] ?? 1;

/** Throws `[op] sentence` unless `condition` holds. */
export function need(condition: boolean, op: string, sentence: string): asserts condition {
  if (!condition) throw new ShapeError(op, sentence);
}
