/** The interface that shows a run to people. The command line implements it. */
import type { EpochEntry } from '../training/progress.js';
import type { RunFacts, StepReport } from '../training/sink.js';

export interface Reporter {
  start(run: RunFacts): void;
  step(report: StepReport): void;
  epoch(entry: EpochEntry, isBest: boolean): void;
  note(sentence: string): void;
}
