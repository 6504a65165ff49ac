/** Trains the runs of a sweep, one after another, each in a process of its own. */
import type { ChildProcess } from 'node:child_process';
import { basename, join, resolve } from 'node:path';
import { writeFileAtomic } from '../io/atomic.js';
import { sweepMarkdown, sweepPage } from '../report/sweep.js';
import type { SweepFolder } from '../sweeps/folder.js';
import type { PlannedRun } from '../sweeps/plan.js';
import type { Results } from '../sweeps/results.js';
import { keepBest, type Stage } from '../sweeps/rungs.js';
import { settingFlags } from './arguments.js';
import { type ChildEnd, lastSentence, trainInChild } from './child.js';
import { wasStopped } from './signals.js';

interface Options {
  readonly init?: string;
  readonly adapter?: string;
  readonly quiet: boolean;
  readonly 'take-lock': boolean;
}

export class Sweep {
  private child: ChildProcess | null = null;

  constructor(
    private readonly folder: SweepFolder,
    private readonly options: Options,
    /** Where a file for each finished run is written; null without --results. */
    private readonly results: Results | null,
    /** The signal that the sweep should end at; null while there is none. */
    private readonly caught: () => NodeJS.Signals | null,
  ) {}

  /** Sends a signal to the current run, which saves its state and ends. */
  stop(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  /** Trains the stages until a signal. Returns true if every run of every stage has finished. */
  async train(stages: readonly Stage[]): Promise<boolean> {
    let kept: readonly string[] | null = null;
    let whole = true;
    for (const { rung, runs } of stages) {
      const now: PlannedRun[] = runs.filter(
        ({ configuration: name }) => kept === null || kept.includes(name),
      );
      await this.trainAll(now, rung === null ? '' : `rung ${rung.number}: `);
      whole &&= now.every((run) => this.folder.isFinished(run));
      if (this.caught()) return false;
      if (rung?.keep == null) continue;
      kept = this.kept(now, rung.number, rung.keep);
      if (kept.length === 0) {
        console.error(
          `patchlight: no configuration has finished rung ${rung.number}, so the sweep ends here.`,
        );
        return false;
      }
    }
    return whole;
  }

  private async trainAll(runs: readonly PlannedRun[], where: string): Promise<void> {
    this.folder.choose(runs);
    for (const [i, planned] of runs.entries()) {
      if (this.caught()) return;
      const done = this.folder.isFinished(planned);
      if (!this.options.quiet)
        console.log(`[${where}${i + 1}/${runs.length}] ${planned.name}${done ? ': finished before' : ''}`);
      if (!done) await this.run(planned);
      else if (this.results?.has(planned) === false) this.record(planned, false);
    }
  }

  /** The configurations that the next rung trains. */
  private kept(runs: readonly PlannedRun[], number: number, keep: number): string[] {
    const names = new Set(runs.map(({ name }) => name));
    const trained = [...new Set(runs.map(({ configuration }) => configuration))];
    const rows = this.folder.rows().filter(({ name }) => names.has(name));
    const kept = keepBest(rows, trained, keep);
    if (!this.options.quiet)
      console.log(
        `Rung ${number} keeps ${kept.length} of ${trained.length} configurations: ${kept.join('; ')}`,
      );
    return kept;
  }

  /** Trains or continues one run, and records how it ended. */
  private async run(planned: PlannedRun): Promise<void> {
    const { folder } = this;
    const continued = folder.canContinue(planned);
    folder.begin(planned);
    const end = await trainInChild(this.argumentsFor(planned, continued), (child) => {
      this.child = child;
    });
    this.child = null;
    if (end.code === 0) {
      // A process that is killed between the two lines finds the run unfinished, and writes its result again.
      this.record(planned, true);
      folder.mark(planned, 'finished');
    } else if (wasStopped(end.code)) folder.mark(planned, 'stopped');
    else this.fail(planned, end);
    await this.write();
  }

  private record(planned: PlannedRun, trainedNow: boolean): void {
    this.results?.write(planned, this.folder.runPath(planned), trainedNow);
  }

  private fail(planned: PlannedRun, { code, said }: ChildEnd): void {
    const sentence = lastSentence(said);
    // A process that ended without an error message has crashed: all of its standard error may help.
    if (sentence === null) console.error(said.trim());
    const error = sentence ?? `The process ended with code ${code}.`;
    console.error(`patchlight: ${planned.name} failed: ${error}`);
    this.folder.mark(planned, 'failed', error);
  }

  /** Writes sweep.md and sweep.html. */
  async write(): Promise<void> {
    const { path } = this.folder;
    const rows = this.folder.rows();
    const title = `Sweep: ${basename(resolve(path))}`;
    const save = (name: string, content: string) =>
      writeFileAtomic(join(path, name), new TextEncoder().encode(content));
    save('sweep.md', sweepMarkdown(title, rows));
    save('sweep.html', await sweepPage(title, rows));
  }

  private argumentsFor(planned: PlannedRun, continued: boolean): string[] {
    const { init, adapter, quiet, 'take-lock': take } = this.options;
    const path = this.folder.runPath(planned);
    return [
      ...(continued ? ['--resume', path] : ['--output', path, ...(init ? ['--init', init] : [])]),
      ...(adapter ? ['--adapter', adapter] : []),
      ...(quiet ? ['--quiet'] : []),
      ...(take ? ['--take-lock'] : []),
      ...settingFlags(planned.settings),
    ];
  }
}
