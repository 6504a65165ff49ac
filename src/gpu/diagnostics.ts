/** Counters and overrides for tests, benchmarks and `check`. Training neither reads nor sets any of them. */
import type { Kernel, Specialisation } from './pipeline.js';
import type { Family } from './variants.js';

/** A dispatch, as it was asked for. */
export interface Dispatched {
  readonly kernel: Kernel;
  readonly params: Readonly<Record<string, number>>;
  readonly specialisation: Specialisation;
}

/** How long the host waited for a pipeline. Mesa's CPU driver and browsers compile later, at the first dispatch. */
export interface PipelineTime {
  readonly kernel: string;
  /** Its tuned and overridden constants. */
  readonly constants: string;
  readonly ms: number;
}

export class Diagnostics {
  /** Bind groups made, submits and dispatches so far. A recorded step makes no bind group. It submits once, if it is short. */
  readonly counts = { bindGroups: 0, submits: 0, dispatches: 0 };
  /** Every pipeline that was made, in order. */
  readonly pipelines: PipelineTime[] = [];
  /** The variant to run instead of the best one, by the name of its family. */
  readonly preferences = new Map<string, string>();
  /** Every family that ran, by name, with the variant that was picked last. */
  readonly picked = new Map<string, { family: Family<never>; kernel: string }>();
  /** Bytes bound beyond the end of every operand, so that a stray store lands where a test can see it. */
  slackBytes = 0;
  /** Hears of every dispatch before it is compiled. */
  onDispatch: ((dispatched: Dispatched) => void) | null = null;
}
