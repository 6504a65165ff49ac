/** One sample of an op on a device: forward, backward, backward once more on top, all into guarded memory. */
import { apply } from '../autograd/op.js';
import { Tape } from '../autograd/tape.js';
import { fromHalfBits } from '../core/half.js';
import { numel, type Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import { scope } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';
import type { Case } from './expectation.js';

/** Elements on either side of every output and gradient. */
export const GUARD = 1024;
const CANARY = 0x7fc0dead; // a NaN no kernel computes

/** A tensor between guard bands. */
export interface Guarded {
  readonly whole: Tensor;
  readonly tensor: Tensor;
}

export function guarded(gpu: Gpu, shape: Shape, dtype: 'f32' | 'f16' = 'f32'): Guarded {
  const padded = 4 * Math.ceil(numel(shape) / 4);
  const whole = Tensor.empty(gpu, [padded + 2 * GUARD], dtype);
  gpu.upload(whole, new Uint32Array(whole.bytes / 4).fill(CANARY));
  return { whole, tensor: whole.view(shape, GUARD) };
}

/** What is between the bands; a problem where something was stored beyond. */
export async function readGuarded({ whole, tensor }: Guarded, problems: string[]): Promise<Float32Array> {
  const bits = new Uint32Array(await tensor.gpu.read(whole));
  const guard = (GUARD * tensor.bits) / 32;
  const stray = bits.findIndex((word, i) => (i < guard || i >= bits.length - guard) && word !== CANARY);
  if (stray !== -1) problems.push(`a stray store ${stray - guard} words from the start of ${tensor}`);
  if (tensor.dtype === 'f32') return new Float32Array(bits.buffer, 4 * guard, tensor.size).slice();
  return Float32Array.from(new Uint16Array(bits.buffer, 4 * guard, tensor.size), fromHalfBits);
}

export interface Result {
  readonly y: Float32Array;
  readonly gradients: readonly (Float32Array | null)[];
  readonly doubled: readonly (Float32Array | null)[];
  /** Stores outside of what was to be written. */
  readonly problems: readonly string[];
}

/** Forward once into guarded memory, then the tape: backward, and backward again on top of it. */
export async function compute(
  gpu: Gpu,
  { op, sample, values }: Case,
  dy: Float32Array<ArrayBuffer>,
): Promise<Result> {
  const problems: string[] = [];
  const made: Tensor[] = [];
  const guards: Guarded[] = [];
  const guard = (shape: Shape) => {
    const it = guarded(gpu, shape);
    guards.push(it);
    return it;
  };
  const inputs = values.map(({ data, shape }) => Tensor.from(gpu, data, shape));
  const out = guard(
    op.shape(
      values.map(({ shape }) => shape),
      sample.attrs,
    ),
  );
  made.push(...scope(() => op.forward(inputs, out.tensor, sample.attrs)));
  const y = await readGuarded(out, problems);

  const wanted = op.backward ? (op.differentiable ?? [...inputs.keys()]) : [];
  const targets = inputs.map((input, i) => (wanted.includes(i) ? guard(input.shape) : null));
  inputs.forEach((input, i) => {
    input.requiresGrad = targets[i] !== null;
    input.grad = targets[i]?.tensor ?? null;
  });
  const gradient = Tensor.from(gpu, dy, out.tensor.shape);
  const passes: (Float32Array | null)[][] = [];
  for (const accumulate of [false, true]) {
    if (wanted.length === 0) break;
    const tape = new Tape();
    const again = tape.run(() => apply(op, inputs, sample.attrs));
    tape.backward(again, { gradient, accumulate });
    again.release();
    passes.push(await Promise.all(targets.map(async (it) => it && readGuarded(it, problems))));
  }
  for (const tensor of [...made, ...inputs, gradient, ...guards.flatMap((it) => [it.whole, it.tensor])])
    tensor.release();
  return { y, gradients: passes[0] ?? [], doubled: passes[1] ?? [], problems };
}
