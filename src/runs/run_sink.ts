/** The sink of `fit` that writes a run directory (config.json, logs, history, checkpoints, states) and shows it on a reporter. */
import { writeContent } from '../io/atomic.js';
import { buildModel } from '../recipe/model.js';
import { isLogged, type Progress, type StepEntry, type WeightsKind } from '../training/progress.js';
import type { Training } from '../training/setup.js';
import type { EpochReport, RunFacts, SaveOptions, Sink, Snapshot, StepReport } from '../training/sink.js';
import { runMetadata, stateParts } from '../training/state_format.js';
import { checkpointContent, checkpointNames } from './checkpoint.js';
import type { Fingerprint } from './fingerprint.js';
import type { Reporter } from './reporter.js';
import type { RunDirectory } from './run_directory.js';
import { SaveFailures } from './save_failures.js';
import { saveState } from './state_files.js';

/** The facts that config.json and checkpoints record besides the settings: version, seed, adapter, driver. */
export type Environment = Readonly<Record<string, unknown>>;

/** The run that a `RunSink` writes, and where. */
export interface RunSinkInput {
  readonly run: RunDirectory;
  readonly reporter: Reporter;
  readonly training: Pick<Training, 'settings' | 'phaseSettings' | 'dataset' | 'model'>;
  readonly environment: Environment;
  readonly fingerprint: Fingerprint;
  /** The run directory of the resumed state, if it is another one than `run`; otherwise null. */
  readonly origin: string | null;
}

/** Writes a run directory, and shows the run on a reporter. */
export class RunSink implements Sink {
  /** True if this sink has written a state, which is then the newest of the run. */
  hasSaved = false;
  // Counted apart: a disk with room for the weights may lack room for a state three times their size.
  private readonly failures = {
    weights: new SaveFailures(),
    state: new SaveFailures(),
    history: new SaveFailures(),
    logs: new SaveFailures(),
  };

  constructor(private readonly input: RunSinkInput) {}

  /** Writes config.json, copies the logs and best weights of a resumed run from another directory, and opens the logs. */
  begin(facts: RunFacts, progress: Progress): void {
    const { run, reporter, environment, training, origin } = this.input;
    const { settings, dataset } = training;
    const model = buildModel(settings, dataset); // that of the last phase
    run.writeConfig({ ...environment, settings, model: model.config, parameters: model.numParams() });
    if (origin) run.adopt(origin);
    if (progress.best && !run.hasBest(progress.step)) {
      reporter.note(
        `The best weights so far (epoch ${progress.best.epoch}) are not in ${run.path}: the search for the best starts again.`,
      );
      progress.best = null;
    }
    run.startLogs(progress.step, isLogged(progress.step, facts.logInterval, facts));
    if (progress.history.length > 0) run.writeHistory(progress.history);
    reporter.start(facts);
  }

  log(entry: StepEntry): void {
    this.input.run.appendStep(entry);
  }

  /** If the disk refuses, the lines are written with the next ones. Three failures in a row end the run. */
  flush(): void {
    try {
      this.input.run.flushLogs();
      this.failures.logs.succeeded();
    } catch (error) {
      this.input.reporter.note(this.failures.logs.failed(error));
    }
  }

  step(report: StepReport): void {
    this.input.reporter.step(report);
  }

  note(sentence: string): void {
    this.input.reporter.note(sentence);
  }

  async epoch({ entry, history, step, isBest }: EpochReport, { ending }: SaveOptions): Promise<void> {
    const { run, reporter } = this.input;
    await this.save('history', ending, () => run.writeHistory(history));
    run.appendEpoch(step, entry);
    reporter.epoch(entry, isBest);
  }

  best(snapshot: Snapshot, kind: WeightsKind): Promise<void> {
    return this.saveWeights(checkpointNames.best, snapshot, kind);
  }

  checkpoint(snapshot: Snapshot, epoch: number): Promise<void> {
    return this.saveWeights(checkpointNames.epoch(epoch), snapshot);
  }

  async state(snapshot: Snapshot, { ending }: SaveOptions): Promise<void> {
    const { run } = this.input;
    const scale = await snapshot.lossScale();
    const metadata = {
      ...this.metadata(snapshot),
      progress: snapshot.progress,
      ...(scale && { loss_scale: scale }),
    };
    const content = checkpointContent(snapshot.model.parameters(), stateParts(snapshot.state), metadata);
    await this.save('state', ending, async () => {
      run.flushLogs(); // the steps before a state must be logged before it is saved
      await saveState(run.path, content);
      this.hasSaved = true;
    });
  }

  async end(snapshot: Snapshot): Promise<void> {
    await this.saveWeights(checkpointNames.final, snapshot, 'raw', true);
    if (snapshot.weights('ema')) await this.saveWeights(checkpointNames.finalEma, snapshot, 'ema', true);
  }

  private metadata({ progress }: Snapshot): Record<string, unknown> {
    const { training, environment, fingerprint } = this.input;
    return { ...runMetadata(training, environment, progress), data: fingerprint };
  }

  private async saveWeights(
    name: string,
    snapshot: Snapshot,
    kind: WeightsKind = 'raw',
    ending = false,
  ): Promise<void> {
    const path = this.input.run.checkpoint(name);
    const part = snapshot.weights(kind);
    if (!part) return;
    // The settings of the phase, which give the model of these weights.
    const { phaseSettings: settings } = this.input.training;
    const metadata = { ...this.metadata(snapshot), settings, weights: kind };
    const content = checkpointContent(snapshot.model.parameters(), { '': part }, metadata);
    await this.save('weights', ending, () => writeContent(path, content));
  }

  /** If the disk refuses, notes it, and the next save tries again. Three failures in a row, or one at the end, end the run. */
  private async save(
    kind: keyof RunSink['failures'],
    ending: boolean,
    write: () => void | Promise<void>,
  ): Promise<void> {
    try {
      await write();
      this.failures[kind].succeeded();
    } catch (error) {
      if (ending) throw error;
      this.input.reporter.note(this.failures[kind].failed(error));
    }
  }
}
