/** A run on a terminal, however it ends: the terminal is not broken, and sentences start at the beginning of a line. */
// Alone: it types Ctrl-C within steps that take a second.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { openData } from '../src/cli/files.js';
import { Terminal } from '../src/cli/progress.js';
import { findState } from '../src/runs/state_files.js';
import type { SweepRow } from '../src/sweeps/table.js';
import type { EpochEntry } from '../src/training/progress.js';
import type { StepReport } from '../src/training/sink.js';
import { sleep, withBuild } from './faults/commands.js';
import { scratch } from './faults/common.js';
import { hasPty, onTerminal, type SeenOnTerminal } from './faults/pty.js';
import { isRestored, readScreen, type Screen } from './faults/screen.js';

const folder = scratch('terminal');

/** A terminal that records what is written to it. */
class Recorded {
  private text = '';
  constructor(readonly columns: number) {}

  write(text: string): boolean {
    this.text += text;
    return true;
  }

  /** The bytes that the terminal gets, where its driver has replaced `\n` by `\r\n`. */
  get bytes(): string {
    return this.text.replaceAll('\n', '\r\n');
  }
  get screen(): Screen {
    return readScreen(this.bytes, this.columns);
  }
}

const report = (step: number, batches = 8): StepReport => ({
  ...{ step, epoch: 1 + Math.floor((step - 1) / batches), batch: 1 + ((step - 1) % batches), batches },
  ...{ totalSteps: 16, loss: 2.5, accuracy: 0.125, lr: 1e-3, imagesPerSecond: 99, gflops: 7 },
});
const entry: EpochEntry = {
  ...{ epoch: 1, train_loss: 2, train_accuracy: 0.25, images: 80, lr: 1e-3, seconds: 61 },
  ...{ val_loss: 1.5, val_accuracy: 0.5, ema_val_loss: null, ema_val_accuracy: null },
};
const EPOCH =
  'epoch 1   train loss 2.0000 accuracy 25.00 %   test loss 1.5000 accuracy 50.00 %   1:01   best';

it.each([
  ['the cursor is hidden', '\x1b[?25l', false],
  ['lines do not wrap', '\x1b[?7l', false],
  ['a prompt would be glued to a bar', '[██░░]', false],
  ['all was switched on again', '\x1b[?25l\x1b[?7l[██░░]\x1b[?7h\x1b[?25h\r\x1b[K', true],
])('a screen says whether a shell could go on: %s', (_, bytes, restored) => {
  expect(isRestored(readScreen(bytes, 80))).toBe(restored);
});

describe('the progress of a run on a terminal', () => {
  const barAt = (percent: number, bar: string) =>
    `epoch 1 [${bar}] ${percent}%  left -  loss 2.5000  acc 12.50 %  lr 1.00e-3  99 images/s  7 GFLOP/s`;

  it('is one line that is rewritten', () => {
    const stream = new Recorded(120);
    const terminal = new Terminal(stream);
    terminal.step(report(1));
    expect(stream.screen.lines).toEqual([barAt(12, '██░░░░░░░░░░░░░░')]);
    terminal.step({ ...report(8), step: 1 });
    expect(stream.screen.lines).toEqual([barAt(100, '████████████████')]);
  });

  it('has notes above it, and stays below them', () => {
    const stream = new Recorded(120);
    const terminal = new Terminal(stream);
    terminal.note('Before the first step.');
    terminal.step(report(1));
    terminal.note('One.');
    terminal.note('Two.');
    expect(stream.screen.lines).toEqual([
      ...['Before the first step.', 'One.', 'Two.'],
      barAt(12, '██░░░░░░░░░░░░░░'),
    ]);
  });

  it('gives way to the line of its epoch', () => {
    const stream = new Recorded(120);
    const terminal = new Terminal(stream);
    terminal.step(report(1));
    terminal.epoch(entry, true);
    expect(stream.screen.lines).toEqual([EPOCH]);
  });

  it.each([200, 80, 40, 20])('changes no mode, and never wraps: %i columns', (columns) => {
    const stream = new Recorded(columns);
    const terminal = new Terminal(stream);
    terminal.step(report(1));
    expect(stream.screen.lines).toHaveLength(1);
    stream.write('^C^C'); // the echo of two key presses
    expect(stream.screen.lines).toHaveLength(1);
    for (const sequence of ['\x1b[?', '\x1b7', '\x1b8']) expect(stream.bytes).not.toContain(sequence);
    terminal.close();
    expect(stream.screen.lines).toEqual(['']);
    expect(isRestored(stream.screen)).toBe(true);
  });

  it('is closed once; then nothing is written, until something is reported', () => {
    const stream = new Recorded(120);
    const terminal = new Terminal(stream);
    terminal.close();
    expect(stream.bytes).toBe('');
    terminal.step(report(1));
    terminal.close();
    const { length } = stream.bytes;
    terminal.close();
    expect(stream.bytes).toHaveLength(length);
    terminal.epoch(entry, true);
    expect(stream.screen.lines).toEqual([EPOCH]);
  });

  it('is not drawn more often than anybody sees', () => {
    const stream = new Recorded(120);
    const terminal = new Terminal(stream);
    for (let step = 1; step <= 1000; step++) terminal.step(report(step, 2000));
    expect(stream.bytes.split('\r').length).toBeLessThan(20);
  });
});

describe('a download', () => {
  afterEach(() => void vi.unstubAllGlobals());

  it('that fails leaves the cursor at the start of a line', async () => {
    const stream = new Recorded(80);
    let [attempts, pieces] = [0, 0];
    const cutShort = new ReadableStream({
      pull(controller) {
        if (pieces++ > 0) throw new Error('the line is dead');
        controller.enqueue(new Uint8Array(2e6));
      },
    });
    vi.stubGlobal('fetch', async () => {
      if (attempts++ > 0) throw new Error('the line is dead');
      return new Response(cutShort, { headers: { 'content-length': '160000000' } });
    });
    const opening = openData({ dataset: 'cifar10', dataDir: join(folder, 'download') }, stream);
    await expect(opening).rejects.toThrow('the line is dead');
    expect(stream.bytes).toContain('downloading  2.0 of 160.0 MB');
    expect(stream.screen.lines).toEqual(['']);
  });
});

describe.runIf(hasPty)('on a pseudo-terminal (of the script command of util-linux)', () => {
  withBuild();

  const flags =
    '--dataset shapes10 --embed-dim 16 --depth 1 --num-heads 2 --patch-size 16 --batch-size 20 --log-interval 1';
  const train = (name: string, more: string) => {
    const args = [...flags.split(' '), ...more.split(' '), '--output', join(folder, name)];
    return onTerminal([process.execPath, 'dist/train.js', ...args]);
  };
  const bar = /epoch 1 \[/;

  /** Every mode that was switched off is on again, and every sentence starts a line of its own. */
  function expectTidy({ bytes, screen, restored }: SeenOnTerminal, ...sentences: RegExp[]): void {
    for (const mode of ['?25', '?7'])
      expect(bytes.lastIndexOf(`\x1b[${mode}l`)).toBeLessThanOrEqual(bytes.lastIndexOf(`\x1b[${mode}h`));
    expect(screen.unknown).toEqual([]);
    const lines = screen.lines.join('\n');
    for (const sentence of sentences) expect(lines).toMatch(sentence);
    expect(lines).not.toMatch(/[█░]/);
    expect(restored).toBe(true);
  }

  it('shows the bar, and at a normal end the epochs and the summary', async () => {
    const seen = await train('whole', '--limit-train 400 --epochs 2').ended;
    expect(seen.code).toBe(0);
    expect(seen.bytes).toMatch(bar);
    expectTidy(seen, /^epoch 1 {3}train loss/m, /^epoch 2 {3}train loss/m, /^All 2 epochs done in /m);
  });

  it('is as it was after Ctrl-C within an epoch', async () => {
    const run = train('stopped', '--epochs 2');
    await run.shown(bar);
    run.type('\x03');
    const seen = await run.ended;
    expect(seen.code).toBe(130);
    expectTidy(seen, /^Stopped by a signal; the state is saved in /m);
  });

  it('is as it was after a second Ctrl-C, which ends a run at once', async () => {
    // Steps of a second and more: one is under way.
    const slow = '--embed-dim 192 --depth 4 --num-heads 3 --patch-size 4 --batch-size 128';
    const run = train('killed', slow);
    await run.shown(bar);
    run.type('\x03');
    await sleep(1.1);
    run.type('\x03');
    const seen = await run.ended;
    expect(seen.code).toBe(130);
    expect(seen.screen.lines.join('\n')).not.toContain('the state is saved');
    expectTidy(seen);
  });

  it('is as it was after an error within an epoch', async () => {
    const seen = await train('wild', '--learning-rate 1e30 --clip-grad 0').ended;
    expect(seen.code).toBe(1);
    expectTidy(seen, /^patchlight: Step \d+: the (loss|gradient norm) is /m);
  });

  it('shows a note above the bar', async () => {
    const run = train('noted', '--limit-train 2000 --epochs 1');
    await run.shown(bar);
    // A folder where a file is to be written.
    mkdirSync(join(folder, 'noted', 'checkpoints', 'best.safetensors', 'in the way'), { recursive: true });
    const seen = await run.ended;
    expect(seen.code).toBe(0);
    expectTidy(seen, /^A save failed and training continues /m, /^epoch 1 {3}train loss/m);
  });

  it('that goes away leaves a run that has saved its state', async () => {
    const run = train('hung-up', '--epochs 2');
    await run.shown(bar);
    run.hangUp();
    await run.ended;
    const path = join(folder, 'hung-up');
    for (let i = 0; i < 200 && readdirSync(path).includes('run.lock'); i++) await sleep(0.05);
    expect(findState(path).damaged).toEqual([]);
    expect(readdirSync(path)).not.toContain('run.lock');
  });

  it('that goes away leaves a sweep that can go on', async () => {
    const path = join(folder, 'sweep');
    const args = [...flags.split(' '), '--grid', 'seed=1,2', '--epochs', '2', '--output', path];
    const sweep = onTerminal([process.execPath, 'dist/sweep.js', ...args]);
    await sweep.shown(bar);
    sweep.hangUp();
    await sweep.ended;
    for (let i = 0; i < 200 && readdirSync(path).includes('run.lock'); i++) await sleep(0.05);
    const { runs } = JSON.parse(readFileSync(join(path, 'sweep.json'), 'utf8')) as { runs: SweepRow[] };
    expect(runs.map(({ status, error }) => [status, error])).toEqual([
      ['stopped', null],
      ['waiting', null],
    ]);
    expect(findState(join(path, 'seed=1')).damaged).toEqual([]);
  });
});
