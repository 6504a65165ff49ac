/** What a person, or with --json a program, sees of a run. One line is rewritten on a terminal, lines are added elsewhere. */
import cliProgress from 'cli-progress';
import type { Reporter, RunFacts, StepReport } from '../train/journal.js';
import type { EpochEntry } from '../train/run_directory.js';

const percent = (fraction: number | null): string =>
  fraction === null ? '-' : `${(100 * fraction).toFixed(2)} %`;

const fixed = (loss: number | null): string => loss?.toFixed(4) ?? '-';

export function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n: number) => String(n).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const rate = (lr: number): string => lr.toExponential(2);

function describeEpoch(entry: EpochEntry, isBest: boolean, judge: string): string {
  const { epoch, train_loss, train_accuracy, val_loss, val_accuracy, seconds } = entry;
  const figures = (who: string, loss: number | null, accuracy: number | null) =>
    loss === null ? '' : `   ${who} loss ${loss.toFixed(4)} accuracy ${percent(accuracy)}`;
  const judged =
    figures(judge, val_loss, val_accuracy) + figures('average', entry.ema_val_loss, entry.ema_val_accuracy);
  return (
    `epoch ${epoch}   train loss ${fixed(train_loss)} accuracy ${percent(train_accuracy)}${judged}` +
    `   ${duration(seconds)}${isBest ? '   best' : ''}`
  );
}

/** The whole step in one line: how far, how well, how fast, how long still. */
function describeStep(report: StepReport): string {
  const { loss, accuracy, lr, imagesPerSecond, gflops } = report;
  return `loss ${fixed(loss)}  acc ${percent(accuracy)}  lr ${rate(lr)}  ${imagesPerSecond.toFixed(0)} images/s  ${gflops.toFixed(0)} GFLOP/s`;
}

class Clock {
  private first: { step: number; at: number } | null = null;

  /** Seconds until the last step, at the pace since the first report; the first step compiles kernels and is left out. */
  left({ step, totalSteps }: StepReport): number {
    const now = performance.now() / 1000;
    this.first ??= { step, at: now };
    const steps = step - this.first.step;
    return steps > 0 ? ((now - this.first.at) / steps) * (totalSteps - step) : Number.NaN;
  }
}

/** For terminals: cli-progress draws the bar and keeps it in place. */
class Terminal implements Reporter {
  private bar: cliProgress.SingleBar | null = null;
  private judge = 'test';
  private readonly clock = new Clock();

  start(run: RunFacts): void {
    this.judge = run.judge;
  }

  step(report: StepReport): void {
    const { batch, batches, epoch } = report;
    const left = this.clock.left(report);
    const values = {
      label: `epoch ${epoch}`,
      text: describeStep(report),
      left: Number.isNaN(left) ? '-' : duration(left),
    };
    if (this.bar) this.bar.update(batch, values);
    else {
      const format = '{label} [{bar}] {percentage}%  {text}  left {left}';
      const options = { format, hideCursor: true, clearOnComplete: true, barsize: 16, etaBuffer: 1 };
      this.bar = new cliProgress.SingleBar(options, cliProgress.Presets.shades_classic);
      this.bar.start(batches, batch, values);
    }
  }

  epoch(entry: EpochEntry, isBest: boolean): void {
    this.bar?.stop();
    this.bar = null;
    console.log(describeEpoch(entry, isBest, this.judge));
  }

  note(sentence: string): void {
    console.log(sentence);
  }
}

const SECONDS_BETWEEN_LINES = 15;

/** For files and pipes: a plain line every so often. */
class Lines implements Reporter {
  private last = performance.now() / 1000;
  private judge = 'test';
  private readonly clock = new Clock();

  start(run: RunFacts): void {
    this.judge = run.judge;
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
    console.log(describeEpoch(entry, isBest, this.judge));
  }

  note(sentence: string): void {
    console.log(sentence);
  }
}

/** For programs: one JSON object a line, told apart by `event`. */
class Json implements Reporter {
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
}

class Quiet implements Reporter {
  start(): void {}
  step(): void {}
  epoch(): void {}
  note(): void {}
}

export function makeReporter({ quiet, json }: { quiet: boolean; json: boolean }): Reporter {
  if (json) return new Json();
  if (quiet) return new Quiet();
  return process.stdout.isTTY ? new Terminal() : new Lines();
}

/** One line that a download rewrites, where there is a terminal to rewrite it on. */
export function downloadProgress(): ((received: number, total: number | undefined) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  return (received, total) => {
    const of = total ? ` of ${(total / 1e6).toFixed(0)}` : '';
    process.stderr.write(
      `\rdownloading  ${(received / 1e6).toFixed(1)}${of} MB ${received === total ? '\n' : ''}`,
    );
  };
}

export { percent };
