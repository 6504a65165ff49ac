/** The tape: accumulation of gradients, recorded ops, released memory; and scopes. */
// @module-tag quick
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { activeTape, Tape } from '../src/autograd/tape.js';
import { ShapeError } from '../src/core/errors.js';
import type { Shape } from '../src/core/shape.js';
import { geluOp } from '../src/ops/gelu.js';
import { add, gelu, linear, scale, sum } from '../src/ops/index.js';
import { keep, scope } from '../src/tensor/scope.js';
import { Tensor } from '../src/tensor/tensor.js';
import { normals, withGpu, worst } from './gpu.js';

const gpuOf = withGpu();
const N = 37;

/** A leaf that requires a gradient; with `place` false, without memory for it. */
function leaf(shape: Shape, seed: number, place = true): Tensor {
  const tensor = Tensor.from(gpuOf(), normals(shape, seed), shape);
  tensor.requiresGrad = true;
  // Filled with numbers, to detect a gradient that is added where it should be written.
  if (place) tensor.grad = Tensor.from(gpuOf(), normals(shape, 99), shape);
  return tensor;
}

function free(...tensors: Tensor[]): void {
  for (const tensor of tensors) {
    tensor.grad?.release();
    tensor.release();
  }
}

const gelu64 = (x: number): number =>
  geluOp.reference({ x: Float64Array.of(x) }, { x: [1] }, { approximate: 'none' })[0]!;

// Every test releases all of its memory.
let live = 0;
beforeEach(() => {
  live = gpuOf().pool.liveBytes;
});
afterEach(() => {
  expect(gpuOf().pool.liveBytes).toBe(live);
  expect(activeTape()).toBeNull();
});

describe('gradients meet where a tensor is used more than once', () => {
  const graphs: [string, (x: Tensor) => Tensor, (x: number) => number][] = [
    ['x + gelu(x)', (x) => add(x, gelu(x)), (x) => x + gelu64(x)],
    ['gelu(x) + x', (x) => add(gelu(x), x), (x) => gelu64(x) + x],
    ['x + x', (x) => add(x, x), (x) => 2 * x],
    ['(x + x) + x', (x) => add(add(x, x), x), (x) => 3 * x],
    ['x + (x + x)', (x) => add(x, add(x, x)), (x) => 3 * x],
    ['(x + x) + (x + x)', (x) => add(add(x, x), add(x, x)), (x) => 4 * x],
    ['h + gelu(h), h = x + x', (x) => ((h) => add(h, gelu(h)))(add(x, x)), (x) => 2 * x + gelu64(2 * x)],
    ['2x + x', (x) => add(scale(x, 2), x), (x) => 3 * x],
    ['h + h + 3h, h = 2x', (x) => ((h) => add(add(h, h), scale(h, 3)))(scale(x, 2)), (x) => 10 * x],
    [
      'gelu(x) + (x + gelu(gelu(x)))',
      (x) => ((h) => add(h, add(x, gelu(h))))(gelu(x)),
      (x) => gelu64(x) + x + gelu64(gelu64(x)),
    ],
  ];
  const places: [string, (x: Tensor) => Tensor][] = [
    ['a leaf', (x) => x],
    ['computed', (x) => scale(x, 1)],
  ];
  const cases = graphs.flatMap(([formula, ...graph]) =>
    places.map(([name, make]) => [formula, name, make, ...graph] as const),
  );

  it.each(cases)('%s, x %s', async (_, __, make, graph, reference) => {
    const x = leaf([N], 1);
    const gradient = Tensor.from(gpuOf(), normals([N], 2));
    const dy = normals([N], 2);
    const given = normals([N], 1);
    const tape = new Tape();
    const y = tape.run(() => graph(make(x)));
    tape.backward(y, { gradient });
    expect(tape.records).toHaveLength(0);
    const [h, near] = [1e-5, (expected: number) => 1e-5 + 1e-5 * Math.abs(expected)];
    const slope = (v: number) => (reference(v + h) - reference(v - h)) / (2 * h);
    const expected = Array.from(given, (v, i) => slope(v) * dy[i]!);
    expect(
      worst(await y.toFloat32(), Array.from(given, reference), (i) => near(given[i]!)).ratio,
    ).toBeLessThanOrEqual(1);
    expect(worst(await x.grad!.toFloat32(), expected, (i) => near(expected[i]!)).ratio).toBeLessThanOrEqual(
      1,
    );
    expect(await gradient.toFloat32()).toEqual(dy); // the shared gradient was not added to
    free(x, y, gradient);
  });
});

it('a parameter in two places gets the sum of what two parameters get', async () => {
  const x = Tensor.from(gpuOf(), normals([5, 8], 3), [5, 8]);
  const [weight, bias] = [() => leaf([8, 8], 4), () => leaf([8], 5)];
  const [w, b] = [weight(), bias()];
  const apart = [weight(), bias(), weight(), bias()] as const;
  const train = (w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) => {
    const tape = new Tape();
    const loss = tape.run(() => sum(linear(gelu(linear(x, w1, b1)), w2, b2)));
    tape.backward(loss);
    loss.release();
  };
  train(w, b, w, b);
  train(...apart);
  const [dw1, db1, dw2, db2] = await Promise.all(apart.map(({ grad }) => grad!.toFloat32()));
  for (const [{ grad }, one, two] of [[w, dw1, dw2] as const, [b, db1, db2] as const]) {
    const expected = one!.map((value, i) => value + two![i]!);
    const { ratio } = worst(await grad!.toFloat32(), expected, (i) => 1e-6 + 1e-6 * Math.abs(expected[i]!));
    expect(ratio).toBeLessThanOrEqual(1);
  }
  free(x, w, b, ...apart);
});

describe('backward', () => {
  it('with accumulate adds to what is there, without it overwrites', async () => {
    const x = leaf([N], 1);
    const read = async (seed: number, accumulate: boolean) => {
      const tape = new Tape();
      const loss = tape.run(() => sum(gelu(x)));
      tape.backward(loss, { seed, accumulate });
      loss.release();
      return x.grad!.toFloat32();
    };
    const first = await read(1, false);
    expect(await read(1, true)).toEqual(first.map((g) => g + g));
    expect(await read(-2, true)).toEqual(first.map(() => 0));
    expect(await read(1, false)).toEqual(first);
    free(x);
  });

  it('of more than one element needs a gradient', () => {
    const x = leaf([2, 3], 1);
    const tape = new Tape();
    const y = tape.run(() => gelu(x));
    expect(() => tape.backward(y)).toThrow(ShapeError);
    expect(() => tape.backward(y)).toThrow(/\[backward\] needs one element or the gradient of gelu \(2, 3\)/);
    tape.clear();
    free(x, y);
  });

  it('frees the gradients of leaves that have no place for them', () => {
    const [x, y] = [leaf([N], 1, false), leaf([N], 2)];
    const tape = new Tape();
    const loss = tape.run(() => sum(add(gelu(x), add(x, y))));
    tape.backward(loss);
    free(x, y, loss);
  });

  it('leaves alone what the output does not depend on', async () => {
    const [x, y] = [leaf([N], 1), leaf([N], 2)];
    const tape = new Tape();
    const { loss, other } = tape.run(() => ({ loss: sum(x), other: gelu(y) }));
    tape.backward(loss);
    expect(await x.grad!.toFloat32()).toEqual(new Float32Array(N).fill(1));
    expect(await y.grad!.toFloat32()).toEqual(normals([N], 99));
    free(x, y, loss, other);
  });
});

describe('a tape', () => {
  it('records nothing for tensors that need no gradient, and nothing outside of run', () => {
    const [x, plain] = [leaf([N], 1), Tensor.from(gpuOf(), normals([N], 2))];
    const tape = new Tape();
    const y = tape.run(() => gelu(add(plain, plain)));
    expect(tape.records).toHaveLength(0);
    expect(y.requiresGrad).toBe(false);
    const z = scope(() => gelu(x));
    expect(tape.records).toHaveLength(0);
    expect(z.requiresGrad).toBe(false);
    const w = tape.run(() => add(x, gelu(plain)));
    expect(tape.records).toMatchObject([{ op: { name: 'add' } }]);
    expect(w.requiresGrad).toBe(true);
    tape.clear();
    free(x, plain, y, z, w);
  });

  it('keeps what backward reads and nothing else, and clear frees it', () => {
    const gpu = gpuOf();
    const x = leaf([1024], 1); // 4096 bytes: a size class of its own
    const before = gpu.pool.liveBytes;
    const tape = new Tape();
    const loss = tape.run(() => sum(add(gelu(add(gelu(x), x)), x)));
    expect(tape.flops).toBe(1024 * (10 + 1 + 10 + 1 + 1));
    // The input of the second gelu, and the loss.
    expect(gpu.pool.liveBytes - before).toBe(4096 + 256);
    tape.clear();
    expect(tape.records).toHaveLength(0);
    expect(gpu.pool.liveBytes - before).toBe(256);
    free(x, loss);
  });

  it('stops recording when its body throws, and frees what that made', () => {
    const x = leaf([N], 1);
    const [outer, inner] = [new Tape(), new Tape()];
    outer.run(() => {
      const fails = () => {
        gelu(x);
        throw new RangeError('on purpose');
      };
      expect(() => inner.run(fails)).toThrow('on purpose');
      expect(activeTape()).toBe(outer);
    });
    expect(activeTape()).toBeNull();
    inner.clear();
    free(x);
  });
});

describe('a released tensor', () => {
  it.each<[string, (x: Tensor) => unknown]>([
    ['run', (x) => scope(() => gelu(x))],
    ['upload', (x) => x.upload(new Float32Array(N))],
    ['read', (x) => x.toFloat32()],
    ['view', (x) => gpuOf().clear(x.view([N]))],
  ])('cannot be used: %s', async (_, use) => {
    const x = Tensor.from(gpuOf(), normals([N], 1), [N], 'x');
    x.release();
    await expect(async () => use(x)).rejects.toThrow(/x \(37,\) was used after its memory was released/);
    x.release(); // once more does no harm
  });

  it('lives on in its views', async () => {
    const x = Tensor.from(gpuOf(), normals([2, 64], 1), [2, 64]);
    const second = x.view([64], 64);
    x.release();
    expect(await second.toFloat32()).toEqual(normals([2, 64], 1).slice(64));
    expect(second.shared).toBe(false);
    second.release();
    expect(() => second.buffer).toThrow(/released/);
  });
});

describe('a scope', () => {
  const make = () => Tensor.empty(gpuOf(), [N]);
  const alive = (tensor: Tensor) => {
    try {
      return tensor.buffer !== undefined;
    } catch {
      return false;
    }
  };

  it.each<[string, (x: Tensor) => unknown]>([
    ['a tensor', (x) => x],
    ['an array', (x) => [x, 1, null]],
    ['an object', (x) => ({ x, other: 'text' })],
  ])('keeps what it returns: %s', (_, pack) => {
    const made: Tensor[] = [];
    scope(() => {
      made.push(make(), make());
      return pack(made[0]!);
    });
    expect(made.map(alive)).toEqual([true, false]);
    made[0]!.release();
  });

  it('hands what it returns to the scope outside', () => {
    const made: Tensor[] = [];
    const result = scope(() => {
      const [a, b] = scope(() => {
        made.push(make(), make(), make());
        return made.slice(0, 2);
      });
      expect([...made, a!, b!].map(alive)).toEqual([true, true, false, true, true]);
      return a!;
    });
    expect(made.map(alive)).toEqual([true, false, false]);
    result.release();
  });

  it('lets go of what is taken out, and frees the rest when its body throws', () => {
    const made: Tensor[] = [];
    const body = () => {
      made.push(keep(make()), make());
      throw new RangeError('on purpose');
    };
    expect(() => scope(body)).toThrow('on purpose');
    expect(made.map(alive)).toEqual([true, false]);
    made[0]!.release();
  });
});
