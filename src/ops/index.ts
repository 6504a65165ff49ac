/** The registry: every differentiable op, and through it their tests, benchmarks and tables. */
import type { AnyOp } from '../autograd/op.js';
import * as all from './all.js';

export * from './all.js';

/** The exports of all.ts that are no functions, by name. */
export const ops: readonly AnyOp[] = Object.values(all).filter((it) => typeof it === 'object');
