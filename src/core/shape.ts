/** Shapes are row-major: the last axis is contiguous. */
import { ShapeError } from './errors.js';

/** The sizes of a tensor's axes, the slowest first. An empty shape is a scalar. */
export type Shape = readonly number[];

export const numel = (shape: Shape): number => shape.reduce((n, d) => n * d, 1);

/** `(64, 192)`, `(7,)`, or `()` for a scalar, as Python and PyTorch print a shape. */
export const formatShape = (shape: Shape): string =>
  shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;

export const sameShape = (a: Shape, b: Shape): boolean =>
  a.length === b.length && a.every((d, i) => d === b[i]);

/** The number of rows for an operation over the last axis: the product of all other axes. */
export const rowsOf = (shape: Shape): number => numel(shape.slice(0, -1));

export const lastAxis = (shape: Shape): number => shape[shape.length - 1] ?? 1;

/** Throws `[op] sentence` unless `condition` holds. */
export function need(condition: boolean, op: string, sentence: string): asserts condition {
  if (!condition) throw new ShapeError(op, sentence);
}
