/** One sample of an op on a device: forward, backward, backward once more on top, all into guarded memory. */
import { autocast } from '../autograd/autocast.js';
import { apply } from '../autograd/op.js';
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

/** What is between the bands; a problem where something was stored beyond. */
export async function readGuarded({ whole, tensor }: Guarded, problems: string[]): Promise<Float32Array> {
  const words = new Uint32Array(await tensor.gpu.read(whole));
  const perWord = 32 / tensor.bits;
  const [start, end] = [GUARD / perWord, (GUARD + padded(tensor.shape)) / perWord];
  const stray = words.findIndex((word, i) => (i < start || i >= end) && word !== CANARY);
  if (stray !== -1)
    problems.push(`a stray store ${(stray - start) * perWord} elements from the start of ${tensor}`);
  return tensor.toFloat32();
}

export interface Result {
  readonly y: Float32Array;
  readonly gradients: readonly (Float32Array | null)[];
  readonly doubled: readonly (Float32Array | null)[];
  /** Stores outside of what was to be written. */
  readonly problems: readonly string[];
}

/** Forward once into guarded memory, then the tape: backward, and backward again on top of it. */
export async function compute(gpu: Gpu, test: Case, dy: Float32Array<ArrayBuffer>): Promise<Result> {
  const { op, sample, values, half } = test;
  const precisely = half ? autocast : <T>(body: () => T): T => body();
  const problems: string[] = [];
  const made: Tensor[] = [];
  const guards: Guarded[] = [];
  const guard = (shape: Shape, dtype: DType) => {
    const it = guarded(gpu, shape, dtype);
    guards.push(it);
    return it;
  };
  const inputs = values.map(({ data, shape }, i) => {
    const narrow = half && op.halves?.includes(i) && data instanceof Float32Array;
    return Tensor.from(gpu, narrow ? toHalves(data) : data, shape);
  });
  const out = guard(op.shape(test.shapes, sample.attrs), op.dtype?.(inputs, sample.attrs) ?? 'f32');
  made.push(...precisely(() => scope(() => op.forward(inputs, out.tensor, sample.attrs))));
  const y = await readGuarded(out, problems);

  const wanted = op.backward ? (op.differentiable ?? [...inputs.keys()]) : [];
  const targets = inputs.map((input, i) => (wanted.includes(i) ? guard(input.shape, input.dtype) : null));
  inputs.forEach((input, i) => {
    input.requiresGrad = targets[i] !== null;
    input.grad = targets[i]?.tensor ?? null;
  });
  const gradient = Tensor.from(gpu, out.tensor.dtype === 'f16' ? toHalves(dy) : dy, out.tensor.shape);
  const passes: (Float32Array | null)[][] = [];
  for (const accumulate of [false, true]) {
    if (wanted.length === 0) break;
    precisely(() => {
      const tape = new Tape();
      const again = tape.run(() => apply(op, inputs, sample.attrs));
      tape.backward(again, { gradient, accumulate });
      again.release();
    });
    passes.push(await Promise.all(targets.map(async (it) => it && readGuarded(it, problems))));
  }
  for (const tensor of [...made, ...inputs, gradient, ...guards.flatMap((it) => [it.whole, it.tensor])])
    tensor.release();
  return { y, gradients: passes[0] ?? [], doubled: passes[1] ?? [], problems };
}
