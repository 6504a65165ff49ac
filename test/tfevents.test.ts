/** TensorBoard's event files: a round trip, damaged records, and the files of a run and its continuation. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FormatError } from '../src/core/errors.js';
import { decodeEvents, encodeEvent, FILE_VERSION, type TfEvent } from '../src/io/tfevents.js';
import { RunDirectory } from '../src/runs/run_directory.js';
import type { EpochEntry, StepEntry } from '../src/training/progress.js';

const version: TfEvent = { wallTime: 1.5, step: 0, fileVersion: FILE_VERSION };
const events: TfEvent[] = [
  version,
  { wallTime: 2, step: 11, sessionStart: true },
  { wallTime: 3, step: 2 ** 40, scalars: { 'train/loss': 0.5, 'train/lr': Math.fround(1e-3) } },
];

const joined = (parts: readonly Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));
const file = joined(events.map(encodeEvent));
const starts = events.map((_, i) => joined(events.slice(0, i).map(encodeEvent)).length);

it('what was written is read', () => {
  expect(decodeEvents('x', file)).toEqual(events);
  expect(decodeEvents('x', new Uint8Array())).toEqual([]);
});

it('a record is laid out as TensorFlow lays it out', () => {
  // Length 26, its masked CRC, wall time 1.5, step 0, "brain.Event:2" as field 3, the masked CRC of the 26 bytes.
  const record = Buffer.from(encodeEvent(version));
  expect(record.subarray(0, 8).toString('hex')).toBe('1a00000000000000');
  expect(record.subarray(12, -4).toString('hex')).toBe(
    `09000000000000f83f1000${'1a0d'}${Buffer.from(FILE_VERSION).toString('hex')}`,
  );
});

describe('damage', () => {
  it.each([
    [0, 'record 1 has a length whose checksum is wrong'],
    [8, 'record 1 has a length whose checksum is wrong'],
    [12, 'record 1 has data whose checksum is wrong'],
    [30, 'record 1 has data whose checksum is wrong'],
  ])('of byte %i is told', (offset, sentence) => {
    const damaged = Uint8Array.from(file);
    damaged[(starts[1] as number) + offset]! ^= 4;
    expect(() => decodeEvents('run/x', damaged)).toThrow(FormatError);
    expect(() => decodeEvents('run/x', damaged)).toThrow(`run/x: ${sentence}.`);
  });

  it('a record cut short is told, wherever it is cut', () => {
    for (let length = (starts[2] as number) + 1; length < file.length; length++)
      expect(() => decodeEvents('x', file.subarray(0, length))).toThrow(
        /^x: record 2 is cut short: \d+ bytes/,
      );
  });
});

describe('a run directory', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'patchlight-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const step = (n: number): StepEntry => ({
    step: n,
    epoch: 1,
    loss: n / 2,
    lr: 0.25,
    grad_norm: 4,
    images_per_second: 8,
  });
  const epoch: EpochEntry = {
    epoch: 1,
    train_loss: 2,
    train_accuracy: 0.5,
    val_loss: 1.5,
    val_accuracy: 0.25,
    images: 90,
    ema_val_loss: null,
    ema_val_accuracy: null,
    lr: 0.25,
    seconds: 3,
  };

  function start(done: number): RunDirectory {
    const run = RunDirectory.open(folder, { resume: done > 0 });
    run.startLogs(done);
    return run;
  }

  const logs = () =>
    readdirSync(folder)
      .filter((name) => name.startsWith('events.'))
      .sort();
  const read = (name: string) => decodeEvents(name, readFileSync(join(folder, name)));

  /** The steps that TensorBoard shows: a session that starts at a step drops that step and later ones of earlier sessions. */
  const kept = () =>
    logs()
      .flatMap(read)
      .reduce<TfEvent[]>(
        (all, event) => [...(event.sessionStart ? all.filter((old) => old.step < event.step) : all), event],
        [],
      )
      .filter(({ scalars }) => scalars);

  it('has every figure of steps and epochs', () => {
    const run = start(0);
    run.appendStep(step(10));
    run.appendEpoch(12, epoch);
    run.appendEpoch(24, { ...epoch, val_loss: null, val_accuracy: null });
    run.flushLogs();
    expect(logs()).toHaveLength(1);
    expect(logs()[0]).toMatch(/^events\.out\.tfevents\.\d{10}\.[\w-]+\.0000$/);
    expect(read(logs()[0]!).map(({ wallTime: _, ...event }) => event)).toEqual([
      { step: 0, fileVersion: 'brain.Event:2' },
      {
        step: 10,
        scalars: { 'train/loss': 5, 'train/grad_norm': 4, 'train/lr': 0.25, 'train/images_per_second': 8 },
      },
      { step: 12, scalars: { 'train/epoch_accuracy': 0.5, 'val/loss': 1.5, 'val/accuracy': 0.25 } },
      { step: 24, scalars: { 'train/epoch_accuracy': 0.5 } },
    ]);
  });

  it('of a continued run neither repeats nor drops a step', () => {
    const first = start(0);
    for (const n of [1, 2, 3, 4, 5]) first.appendStep(step(n)); // killed; the last saved state is of step 3
    first.flushLogs();
    const second = start(3);
    for (const n of [4, 5, 6]) second.appendStep(step(n));
    second.flushLogs();
    expect(logs()).toHaveLength(2);
    expect(kept().map((event) => event.step)).toEqual([1, 2, 3, 4, 5, 6]);
    const lines = readFileSync(join(folder, 'steps.jsonl'), 'utf8').trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).step)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('has its history as a table too, with the same columns', () => {
    const history = [epoch, { ...epoch, epoch: 2, val_loss: null, val_accuracy: null }];
    start(0).writeHistory(history);
    expect(readFileSync(join(folder, 'history.csv'), 'utf8').split('\n')).toEqual([
      Object.keys(epoch).join(','),
      '1,2,0.5,1.5,0.25,90,,,0.25,3',
      '2,2,0.5,,,90,,,0.25,3',
      '',
    ]);
  });
});
