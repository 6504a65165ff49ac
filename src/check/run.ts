/** One sample of an op on a device: forward, backward, backward once more on top, all into guarded memory. */
import { autocast } from '../autograd/autocast.js';
import { given, hasGradient, type Inputs, mapInputs } from '../autograd/inputs.js';
import { apply, type Saved } from '../autograd/op.js';
import { Tape } from '../autograd/tape.js';
import { toHalves } from '../core/half.js';
import { numel, type Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import { scope } from '../tensor/scope.js';
import { type DType, Tensor } from '../tensor/tensor.js';
import type { Case } from './expectation.js';

/** Elements on either side of every output and gradient. */
export const GUARD = 1024;
const CANARY = 0x7fc0dead; // a NaN no kernel computes

/** A tensor between guard bands. */
export interface Guarded {
  readonly whole: Tensor;
  readonly tensor: Tensor;
}

export function guarded(gpu: Gpu, shape: Shape, dtype: DType = 'f32'): Guarded {
  const whole = Tensor.empty(gpu, [padded(shape) + 2 * GUARD], dtype);
  gpu.upload(whole, new Uint32Array(whole.bytes / 4).fill(CANARY));
  return { whole, tensor: whole.view(shape, GUARD) };
}

const padded = (shape: Shape): number => 4 * Math.ceil(numel(shape) / 4);

/** Reads the values between the bands. Adds a problem where something was stored in a band. */
export async function readGuarded({ whole, tensor }: Guarded, problems: string[]): Promise<Float32Array> {
  const words = new Uint32Array(await tensor.gpu.read(whole));
  const perWord = 32 / tensor.bits;
  const [start, end] = [GUARD / perWord, (GUARD + padded(tensor.shape)) / perWord];
  const stray = words.findIndex((word, i) => (i < start || i >= end) && word !== CANARY);
  if (stray !== -1)
    problems.push(`a stray store ${(stray - start) * perWord} elements from the start of ${tensor}`);
  return tensor.toFloat32();
}

type Gradients = Inputs<Float32Array>;

export interface Result {
  readonly y: Float32Array;
  /** Gradients of the differentiable inputs: after one backward pass, and after a second one that adds to them. */
  readonly gradients: Gradients;
  readonly doubled: Gradients;
  /** Stores outside of the output and the gradients. */
  readonly problems: readonly string[];
}

/** Forward once into guarded memory, then the tape: backward, and backward again on top of it. */
export async function compute(gpu: Gpu, test: Case, dy: Float32Array<ArrayBuffer>): Promise<Result> {
  const { op, attrs, values, shapes, half } = test;
  const precisely = half ? autocast : <T>(body: () => T): T => body();
  const problems: string[] = [];
  const guards: Guarded[] = [];
  const guard = (shape: Shape, dtype: DType) => {
    const it = guarded(gpu, shape, dtype);
    guards.push(it);
    return it;
  };
  const inputs = mapInputs(values, ({ data, shape }, name) => {
    const narrow = half && op.halves?.includes(name) && data instanceof Float32Array;
    return Tensor.from(gpu, narrow ? toHalves(data) : data, shape);
  });
  const out = guard(op.shape(shapes, attrs), op.dtype?.(inputs, attrs) ?? 'f32');
  const saved: Saved = precisely(() => scope(() => op.forward(inputs, out.tensor, attrs))) ?? {};
  const y = await readGuarded(out, problems);

  const differentiable = given(inputs).filter(([name]) => hasGradient(op, name));
  const targets = differentiable.map(([name, input]) => {
    const target = guard(input.shape, input.dtype);
    input.requiresGrad = true;
    input.grad = target.tensor;
    return [name, target] as const;
  });
  const gradient = Tensor.from(gpu, out.tensor.dtype === 'f16' ? toHalves(dy) : dy, out.tensor.shape);
  const differentiate = async (accumulate: boolean): Promise<Gradients> => {
    if (targets.length === 0) return {};
    precisely(() => {
      const tape = new Tape();
      const again = tape.run(() => apply(op, inputs, attrs));
      tape.backward(again, { gradient, accumulate });
      again.release();
    });
    const read = targets.map(async ([name, it]) => [name, await readGuarded(it, problems)] as const);
    return Object.fromEntries(await Promise.all(read));
  };
  const gradients = await differentiate(false);
  const doubled = await differentiate(true);
  const made = [...Object.values(inputs), ...Object.values(saved), gradient];
  const between = guards.flatMap(({ whole, tensor }) => [whole, tensor]);
  for (const tensor of [...made, ...between]) tensor.release();
  return { y, gradients, doubled, problems };
}
