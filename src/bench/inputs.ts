/** Tensors for the samples of ops: values that look random, made fast. */
import type { SampleInput } from '../autograd/op.js';
import { Counter } from '../core/rng.js';
import { numel, type Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import { Tensor } from '../tensor/tensor.js';

const PERIOD = 4099; // a prime, so that no axis repeats with it

const counter = new Counter(7, 95);
const normals = Float32Array.from({ length: PERIOD }, () => counter.normal());

/** Normal values, repeated. */
export const normal = (gpu: Gpu, shape: Shape): Tensor =>
  Tensor.from(
    gpu,
    Float32Array.from({ length: numel(shape) }, (_, i) => normals[i % PERIOD] as number),
    shape,
  );

export function randomInput(gpu: Gpu, input: SampleInput): Tensor {
  if ('u32' in input) {
    const draws = Uint32Array.from({ length: numel(input.u32) }, () => counter.below(input.below));
    return Tensor.from(gpu, draws, input.u32);
  }
  if (!('rows' in input)) return normal(gpu, input);
  const width = input.rows.at(-1) as number;
  return Tensor.from(gpu, new Float32Array(numel(input.rows)).fill(1 / width), input.rows);
}
