/** The ops, one by one and as a list from which tests, benchmarks and tables are made. */
import type { AnyOp } from '../autograd/op.js';
import * as all from './all.js';

export * from './all.js';

/** All ops, in alphabetical order: every object among the exports. */
export const ops: readonly AnyOp[] = Object.values(all).filter((it) => typeof it === 'object');
