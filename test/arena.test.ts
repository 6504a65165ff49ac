/** Copying the arena between host and device in pieces, because the host may lack memory for a large model. */
// Alone: it measures the memory of the process.
import { describe, expect, it, vi } from 'vitest';
import { VisionTransformer } from '../src/models/vit.js';
import { makeStepState, writeStepState } from '../src/ops/step_state.js';
import { Ema } from '../src/optim/ema.js';
import { Arena, type Layout } from '../src/tensor/arena.js';
import { Parameter, type Role } from '../src/tensor/parameter.js';
import { Tensor } from '../src/tensor/tensor.js';
import { withGpu } from './gpu.js';

const gpuOf = withGpu();

const SIZES = { a: [3, 50], b: [7], c: [300], d: [1], e: [128] } as const;

/** Parameters a to e; b and d do not decay. All values differ. */
function arenaOf(): { arena: Arena; valuesOf: (parameter: Parameter) => Float32Array } {
  const parameters = Object.entries(SIZES).map(([name, shape], i) => {
    const parameter = new Parameter(shape, () => (at) => 1000 * (i + 1) + at);
    parameter.name = name;
    return parameter;
  });
  const arena = new Arena(gpuOf(), parameters, ({ name }) => !'bd'.includes(name));
  return { arena, valuesOf: (parameter) => parameter.initial(0, 0) };
}

const PIECES = [1, 100, 128, 301, 1 << 20];

/** One parameter of each kind, given in another order than the arena has them. */
function kindsOf(): Parameter[] {
  const roles: Record<string, Role> = {
    fixed: { kind: 'fixed' },
    mean: { kind: 'statistic' },
    bias: { decays: false },
  };
  return ['fixed', 'mean', 'bias', 'weight'].map((name, i) => {
    const parameter = new Parameter([3, 2], () => (at) => 10 * i + at, roles[name]);
    parameter.name = name;
    return parameter;
  });
}

describe('an arena', () => {
  it('has decayed, other trained, statistics and fixed parameters in this order; only trained ones have gradients', () => {
    const arena = new Arena(gpuOf(), kindsOf(), ({ role }) => role.decays);
    const names = (layout: Layout) => layout.slots.map(({ parameter }) => parameter.name);
    expect(names(arena)).toEqual(['weight', 'bias', 'mean', 'fixed']);
    expect(names(arena.trained)).toEqual(['weight', 'bias']);
    expect(names(arena.moving)).toEqual(['weight', 'bias', 'mean']);
    expect(arena.decayed).toBe(arena.slots[1]!.start);
    for (const { parameter } of arena.slots)
      expect(parameter.tensor.grad !== null).toBe(['weight', 'bias'].includes(parameter.name));
  });

  it('has statistics and trained parameters averaged, and fixed ones left alone', async () => {
    const arena = new Arena(gpuOf(), kindsOf(), ({ role }) => role.decays);
    arena.write(arena.values, () => new Float32Array(6));
    const ema = new Ema(arena, 0.5);
    arena.write(arena.values, () => new Float32Array(6).fill(8));
    const state = makeStepState(gpuOf());
    writeStepState(state, { seed: 0, step: 0, slot: 0, lr: 0, stepSize: 0, rootC2: 1, emaDecay: 0.75 });
    ema.step(state);
    const averages = await arena.read(ema.average);
    expect(Object.fromEntries([...averages].map(([name, values]) => [name, [...values]]))).toEqual({
      ...{
        weight: Array(6).fill(2),
        bias: Array(6).fill(2),
        mean: Array(6).fill(2),
        fixed: Array(6).fill(0),
      },
    });
  });

  it.each(PIECES)('is written and read %i floats at a time', async (most) => {
    const { arena, valuesOf } = arenaOf();
    const dirty = Tensor.from(gpuOf(), new Float32Array(arena.size).fill(Number.NaN));
    const uploads = vi.spyOn(gpuOf(), 'upload');
    arena.write(dirty, valuesOf, most);
    const uploaded = uploads.mock.calls.map(([, data]) => data.byteLength);
    uploads.mockRestore();
    expect(Math.max(...uploaded)).toBe(4 * Math.min(most, arena.size));
    expect(uploaded.reduce((sum, bytes) => sum + bytes)).toBe(4 * arena.size);
    const whole = await dirty.toFloat32();
    const expected = new Float32Array(arena.size);
    for (const { parameter, start } of arena.slots) expected.set(valuesOf(parameter), start);
    expect(whole).toEqual(expected);

    const reads = vi.spyOn(gpuOf(), 'read');
    const found = new Map<string, number[]>();
    for await (const { parameter, values } of arena.pieces(dirty, most))
      found.set(parameter.name, [...(found.get(parameter.name) ?? []), ...values]);
    const sizes = new Set(reads.mock.calls.map(([{ bytes }]) => bytes));
    reads.mockRestore();
    expect([...found.keys()]).toEqual(arena.slots.map(({ parameter }) => parameter.name));
    for (const { parameter } of arena.slots)
      expect(found.get(parameter.name)).toEqual([...valuesOf(parameter)]);
    expect([...sizes]).toEqual([4 * Math.min(most, arena.size)]);
    dirty.release();
  });

  it('takes values in pieces, and keeps those of a parameter that is given none', async () => {
    const { arena, valuesOf } = arenaOf();
    arena.write(arena.values, valuesOf);
    const twice = (parameter: Parameter) => valuesOf(parameter).map((x) => 2 * x);
    for (const most of PIECES) {
      arena.write(arena.values, valuesOf);
      arena.write(
        arena.values,
        (parameter) => {
          const values = twice(parameter);
          return parameter.name === 'c' ? null : [values.subarray(0, 5), values.subarray(5)];
        },
        most,
      );
      for (const { parameter } of arena.slots)
        expect((await arena.read(arena.values)).get(parameter.name), `${most}`).toEqual(
          (parameter.name === 'c' ? valuesOf : twice)(parameter),
        );
    }
  });

  it('reads a section of it', async () => {
    const { arena, valuesOf } = arenaOf();
    arena.write(arena.values, valuesOf);
    const section = arena.section(arena.slots[1]!.start);
    const read = await section.read(section.of(arena.values));
    expect([...read.keys()]).toEqual(arena.slots.slice(1).map(({ parameter }) => parameter.name));
    for (const { parameter } of section.slots) expect(read.get(parameter.name)).toEqual(valuesOf(parameter));
  });

  it('takes on the host what one of many large pieces takes', async () => {
    const gpu = gpuOf();
    const one = Tensor.zeros(gpu, [4 << 20]);
    const values = new Float32Array(4 << 20).fill(1);
    one.upload(values);
    await gpu.finish();
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 32; i++) one.upload(values);
    const grown = process.memoryUsage.rss() - before;
    expect(grown).toBeLessThan(256 << 20); // the uploads have 512 MiB together
    await gpu.finish();
    one.release();
  });
});

describe('first values', () => {
  it('differ between parameters of one shape, and are those of the place in the model', async () => {
    const model = new VisionTransformer({ imageSize: 8, patchSize: 4, embedDim: 8, numHeads: 2, depth: 2 });
    const parameters = model.parameters();
    const arena = new Arena(gpuOf(), parameters, ({ shape }) => shape.length > 1);
    arena.initialise(parameters, 5);
    const values = await arena.read(arena.values);
    for (const [i, parameter] of parameters.entries())
      expect(values.get(parameter.name), parameter.name).toEqual(parameter.initial(5, i));
    const [first, second] = [0, 1].map((block) => values.get(`blocks.${block}.attn.qkv.weight`)!);
    expect(first!.filter((value, i) => value === second![i]).length).toBe(0);
  });

  it('are refused without all parameters', () => {
    const { arena } = arenaOf();
    const [missing, ...others] = arena.slots.map(({ parameter }) => parameter);
    expect(() => arena.initialise(others, 0)).toThrow(
      `Parameter ${missing!.name} of the arena is not among those given.`,
    );
  });
});
