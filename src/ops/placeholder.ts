/** Small tensors for bindings that a specialisation of a kernel declares and does not use. */
import type { Gpu } from '../gpu/gpu.js';
import { keep } from '../tensor/scope.js';
import { Tensor } from '../tensor/tensor.js';

const made = new WeakMap<Gpu, Map<string, Tensor>>();

/** Sixteen zero bytes under a name; the same tensor at every call, so that bind groups stay the same. */
export function placeholder(gpu: Gpu, name: string): Tensor {
  const mine = made.get(gpu) ?? new Map<string, Tensor>();
  made.set(gpu, mine);
  const known = mine.get(name);
  if (known) return known;
  const tensor = keep(Tensor.zeros(gpu, [4], 'f32', name));
  mine.set(name, tensor);
  return tensor;
}
