/** The interface that shows a run to people. The command line implements it. */
import type { EpochEntry } from '../training/progress.js';
import type { RunFacts, StepReport } from '../training/sink.js';

/** Shows a run to people. */
export interface Reporter {
  /** Called before the first step. */
  start(run: RunFacts): void;
  /** Called at every log interval. */
  step(report: StepReport): void;
  /** Called after an epoch; `isBest` if its evaluation is better than all before. */
  epoch(entry: EpochEntry, isBest: boolean): void;
  /** Called with a sentence about something that the user should know. */
  note(sentence: string): void;
}
