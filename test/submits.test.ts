/** Long lists of commands become several submits on GPUs, with the same bits and nothing made anew. */
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { StepBench } from '../src/bench/step.js';
import type { Command, Dispatch } from '../src/gpu/commands.js';
import type { Gpu } from '../src/gpu/gpu.js';
import { cut, dispatchesPerSubmit, expectedSeconds, Submits } from '../src/gpu/submits.js';
import { openGpu } from './gpu.js';

const dispatch = (x: number): Command => ({ kind: 'dispatch', groups: [x, 1, 1] }) as unknown as Dispatch;
const copy = { kind: 'copy' } as Command;
/** The clock of this process, in milliseconds. */
const setClock = (milliseconds: number) => vi.spyOn(performance, 'now').mockReturnValue(milliseconds);
afterEach(() => vi.restoreAllMocks());

const list = (length: number, x = 7): Command[] => Array.from({ length }, () => dispatch(x));

it.each<[number, number | undefined, number]>([
  // dispatches, seconds of the last such list, dispatches of a submit
  [500, undefined, 4],
  [2, undefined, 4],
  [500, 0, 500],
  [500, 0.02, 500],
  [500, 0.5, 500],
  [500, 0.51, 250],
  [500, 1, 250],
  [500, 1.2, 167],
  [500, 2, 125],
  [500, 30, 9],
  [500, 1e6, 1],
  [3, 10, 1],
  [1, 10, 1],
])('of %i dispatches that take %s s, a submit has %i', (dispatches, seconds, expected) => {
  expect(dispatchesPerSubmit(dispatches, seconds)).toBe(expected);
});

it.each<[number | undefined, number, number]>([
  [undefined, 0.3, 0.3],
  [0.3, 2, 2],
  [2, 1.5, 1.5],
  [2, 0, 1],
  [2, 0.7, 1],
])('a list that was expected to take %s s and took %s is expected to take %s', (before, took, after) => {
  expect(expectedSeconds(before, took)).toBe(after);
});

it('pieces have every command once, in order, and no more dispatches than allowed', () => {
  const commands = [copy, ...list(3), copy, copy, ...list(4), copy];
  for (const most of [1, 2, 3, 4, 7, 8]) {
    const pieces = cut(commands, most);
    expect(pieces.flat()).toEqual(commands);
    const counts = pieces.map((piece) => piece.filter(({ kind }) => kind === 'dispatch').length);
    expect(counts.slice(0, -1).every((count) => count === most)).toBe(true);
    expect(counts).toHaveLength(Math.ceil(7 / most));
  }
  expect(cut([copy], 4)).toEqual([[copy]]);
  expect(cut([], 4)).toEqual([[]]);
});

describe('lists', () => {
  const lengths = (submits: Submits, commands: Command[]) => submits.pieces(commands).map((it) => it.length);

  it('are known by their dispatches and workgroups', () => {
    const submits = new Submits();
    expect(lengths(submits, list(10))).toEqual([4, 4, 2]);
    submits.learn(list(10), 0.01);
    expect(lengths(submits, list(10))).toEqual([10]);
    expect(lengths(submits, list(11))).toEqual([4, 4, 3]);
    expect(lengths(submits, list(10, 8))).toEqual([4, 4, 2]); // a larger batch
    submits.learn(list(10), 0.9);
    expect(lengths(submits, list(10))).toEqual([5, 5]);
  });

  it('that never repeat are forgotten', () => {
    const submits = new Submits();
    submits.learn(list(10), 0.01);
    for (let x = 0; x < 2000; x++) submits.learn(list(1, x), 0.01);
    expect(lengths(submits, list(10))).toEqual([4, 4, 2]);
  });

  it('are timed from the end of the work before them', () => {
    const submits = new Submits();
    const [first, second] = [list(10), list(20)];
    setClock(1000);
    const [endFirst, endSecond] = [submits.begin(first), submits.begin(second)];
    setClock(1600);
    endFirst();
    setClock(1800);
    endSecond(); // it took 200 ms after the first
    expect(lengths(submits, first)).toEqual([5, 5]);
    expect(lengths(submits, second)).toEqual([20]);
  });
});

describe('training steps', () => {
  const settings = { embedDim: 16, depth: 2, numHeads: 2, patchSize: 8, batchSize: 8, mlpDropout: 0.1 };

  /** A model after its first step. From then on its device counts as a GPU that has the same kernels, or as it is. */
  async function trained(asGpu: boolean) {
    const gpu = await openGpu();
    onTestFinished(() => gpu.close());
    const bench = new StepBench(gpu, settings);
    bench.step();
    await gpu.finish();
    if (asGpu) Object.assign(gpu.info, { software: false });
    return { gpu, bench };
  }

  const weights = ({ model }: StepBench) =>
    Promise.all(model.parameters().map((parameter) => parameter.tensor.toFloat32()));

  function counting(gpu: Gpu, body: () => void) {
    const now = () => ({ ...gpu.diagnostics.counts, buffers: gpu.pool.created });
    const before = now();
    body();
    const after = now();
    return Object.fromEntries(
      (Object.keys(after) as (keyof typeof after)[]).map((name) => [name, after[name] - before[name]]),
    );
  }

  it('have the same bits, make nothing anew, and are one submit once they are known to be short', async () => {
    const [whole, pieces] = [await trained(false), await trained(true)];
    const once = counting(whole.gpu, () => whole.bench.step());
    const dispatches = once.dispatches as number;
    expect(once).toEqual({ bindGroups: 0, buffers: 0, submits: 1, dispatches });
    await whole.gpu.finish();
    let clock = 0;
    // The first is unknown. It seems to take 2 s, so the next has four submits. The expectation then sinks by halves.
    for (const [seconds, submits] of [
      [2, Math.ceil(dispatches / 4)],
      [0, 4],
      [0, 2],
      [0, 1],
      [0, 1],
    ] as const) {
      setClock(clock);
      expect(counting(pieces.gpu, () => pieces.bench.step())).toEqual({ ...once, submits });
      clock += 1000 * seconds;
      setClock(clock);
      await pieces.gpu.finish();
    }
    for (let i = 0; i < 4; i++) whole.bench.step();
    const expected = await weights(whole.bench);
    expect(await weights(pieces.bench)).toEqual(expected);
    expect(Math.max(...expected.flatMap((values) => [...values]))).toBeGreaterThan(0);
  });
});
