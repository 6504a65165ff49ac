/** Reporters of a training run: a status line on a terminal, plain lines in a file or pipe, JSON for programs, or nothing. */
import type { Reporter } from '../runs/reporter.js';
import type { EpochEntry } from '../training/progress.js';
import type { RunFacts, StepReport } from '../training/sink.js';
import { StatusLine, type TerminalStream } from './status_line.js';

/** A reporter that may have to clear its status line before anything else is printed. */
export interface ClosableReporter extends Reporter {
  /** Leaves the cursor at the start of an empty line. May be called more than once; reporting may continue afterwards. */
  close(): void;
}

const percent = (fraction: number | null): string =>
  fraction === null ? '-' : `${(100 * fraction).toFixed(2)} %`;

const fixed = (loss: number | null): string => loss?.toFixed(4) ?? '-';

/** Seconds as `m:ss` or `h:mm:ss`. */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const rate = (lr: number): string => lr.toExponential(2);

function describeEpoch(entry: EpochEntry, isBest: boolean, validationName: string): string {
  const { epoch, train_loss, train_accuracy, val_loss, val_accuracy, seconds } = entry;
  const figures = (who: string, loss: number | null, accuracy: number | null) =>
    loss === null ? '' : `   ${who} loss ${loss.toFixed(4)} accuracy ${percent(accuracy)}`;
  const evaluated =
    figures(validationName, val_loss, val_accuracy) +
    figures('EMA', entry.ema_val_loss, entry.ema_val_accuracy);
  return (
    `epoch ${epoch}   train loss ${fixed(train_loss)} accuracy ${percent(train_accuracy)}${evaluated}` +
    `   ${duration(seconds)}${isBest ? '   best' : ''}`
  );
}

/** Loss, accuracy, learning rate and throughput in one line. */
function describeStep(report: StepReport): string {
  const { loss, accuracy, lr, imagesPerSecond, gflops } = report;
  return `loss ${fixed(loss)}  acc ${percent(accuracy)}  lr ${rate(lr)}  ${imagesPerSecond.toFixed(0)} images/s  ${gflops.toFixed(0)} GFLOP/s`;
}

class Clock {
  private first: { step: number; at: number } | null = null;

  /**
   * Seconds until the last step, at the average pace since the first report; NaN at the first report. The steps before it
   * compile kernels, so they do not count.
   */
  left({ step, totalSteps }: StepReport): number {
    const now = performance.now() / 1000;
    this.first ??= { step, at: now };
    const steps = step - this.first.step;
    return steps > 0 ? ((now - this.first.at) / steps) * (totalSteps - step) : Number.NaN;
  }
}

const BAR_WIDTH = 16;

function progressBar(fraction: number): string {
  const full = Math.round(BAR_WIDTH * fraction);
  return `[${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}] ${Math.floor(100 * fraction)}%`;
}

/** For terminals: a status line that is rewritten during an epoch, below a line for each finished epoch and each note. */
export class Terminal implements ClosableReporter {
  private validationName = 'test';
  private readonly clock = new Clock();
  private readonly line: StatusLine;

  constructor(stream: TerminalStream) {
    this.line = new StatusLine(stream);
  }

  start(run: RunFacts): void {
    this.validationName = run.validationName;
  }

  step(report: StepReport): void {
    const { batch, batches, epoch } = report;
    const left = this.clock.left(report);
    // A narrow terminal cuts off the end of the line, so the remaining time stands before the other figures.
    const time = `left ${Number.isNaN(left) ? '-' : duration(left)}`;
    const text = `epoch ${epoch} ${progressBar(batch / batches)}  ${time}  ${describeStep(report)}`;
    this.line.show(text, batch === batches);
  }

  epoch(entry: EpochEntry, isBest: boolean): void {
    this.line.clear();
    this.line.print(describeEpoch(entry, isBest, this.validationName));
  }

  note(sentence: string): void {
    this.line.print(sentence);
  }

  close(): void {
    this.line.clear();
  }
}

const SECONDS_BETWEEN_LINES = 15;

/** For files and pipes: a plain line every 15 seconds, and one for each epoch and note. */
class Lines implements ClosableReporter {
  private last = performance.now() / 1000;
  private validationName = 'test';
  private readonly clock = new Clock();

  start(run: RunFacts): void {
    this.validationName = run.validationName;
  }

  step(report: StepReport): void {
    const left = this.clock.left(report);
    const now = performance.now() / 1000;
    if (now - this.last < SECONDS_BETWEEN_LINES) return;
    this.last = now;
    const { epoch, batch, batches } = report;
    const remaining = Number.isNaN(left) ? '' : `  left ${duration(left)}`;
    console.log(`epoch ${epoch}  ${batch}/${batches}  ${describeStep(report)}${remaining}`);
  }

  epoch(entry: EpochEntry, isBest: boolean): void {
    console.log(describeEpoch(entry, isBest, this.validationName));
  }

  note(sentence: string): void {
    console.log(sentence);
  }

  close(): void {}
}

/** For programs: one JSON object a line; its field `event` says which kind it is. */
class Json implements ClosableReporter {
  private readonly say = (event: string, values: object) => console.log(JSON.stringify({ event, ...values }));

  start(run: RunFacts): void {
    this.say('start', { parameters: run.model.numParams(), steps: run.totalSteps });
  }
  step(report: StepReport): void {
    this.say('step', report);
  }
  epoch(entry: EpochEntry, best: boolean): void {
    this.say('epoch', { ...entry, best });
  }
  note(sentence: string): void {
    this.say('note', { sentence });
  }
  close(): void {}
}

class Quiet implements ClosableReporter {
  start(): void {}
  step(): void {}
  epoch(): void {}
  note(): void {}
  close(): void {}
}

/** The reporter for --quiet and --json; without them it depends on whether standard output is a terminal. */
export function makeReporter({ quiet, json }: { quiet: boolean; json: boolean }): ClosableReporter {
  if (json) return new Json();
  if (quiet) return new Quiet();
  // A "dumb" terminal, such as a shell within an editor, cannot clear a line.
  if (!process.stdout.isTTY || process.env.TERM === 'dumb') return new Lines();
  const terminal = new Terminal(process.stdout);
  // For every way to exit, such as a second Ctrl-C.
  process.on('exit', () => terminal.close());
  return terminal;
}

export { percent };
