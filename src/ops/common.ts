/** Counts that several ops need: quads, workgroups; and a table of reference values. */
import { numel, type Shape } from '../core/shape.js';

/** Invocations of the elementwise kernels' workgroups (their `WG`). */
export const ELEMENTWISE_WG = 256;
/** Invocations of the row and column kernels' workgroups. */
export const ROW_WG = 64;

/** Groups of four elements; an elementwise invocation computes one. */
export const quadsOf = (n: number): number => Math.ceil(n / 4);

export const groupsFor = (invocations: number, size: number): number => Math.ceil(invocations / size);

/** Workgroups of an elementwise kernel over n elements. */
export const elementwise = (n: number): number => groupsFor(quadsOf(n), ELEMENTWISE_WG);

/** Float64 results of `f` for every index of `shape`, flat. */
export const tabulate = (shape: Shape, f: (i: number) => number): Float64Array =>
  Float64Array.from({ length: numel(shape) }, (_, i) => f(i));
