/** The messages from the worker of the check to its page. The page only starts it, with the link's filter and seconds. */
import type { Ceilings } from '../bench/ceilings.js';
import type { OpRow } from '../bench/ops.js';
import type { LeftOut } from '../check/summary.js';
import type { Row } from '../check/tasks.js';
import type { Machine } from './messages.js';

export interface CheckRequest {
  /** A regular expression for `op shape`; all checks if empty. */
  readonly filter: string;
  /** No check begins after so many seconds; 0 for no limit. */
  readonly seconds: number;
}

export type CheckReply =
  | { readonly kind: 'machine'; readonly machine: Machine; readonly total: number }
  | { readonly kind: 'checked'; readonly done: number; readonly op: string; readonly rows: readonly Row[] }
  | { readonly kind: 'leftOut'; readonly done: number; readonly leftOut: LeftOut }
  | { readonly kind: 'timing'; readonly sentence: string }
  | { readonly kind: 'ceilings'; readonly ceilings: Ceilings }
  | { readonly kind: 'timed'; readonly row: OpRow }
  | { readonly kind: 'ended' }
  | { readonly kind: 'failed'; readonly sentence: string };
