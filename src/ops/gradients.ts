/** Gradients that no kernel writes, and gradients from kernels that cannot add. */

import type { InputName } from '../autograd/inputs.js';
import type { BackwardCall, Target } from '../autograd/op.js';
import { Tensor } from '../tensor/tensor.js';
import { addInto } from './scale.js';

/** Calls `write`, which overwrites a whole gradient; where the place accumulates, adds the result to its contents. */
export function wholeGrad({ tensor, accumulate }: Target, write: (target: Tensor) => void): void {
  if (!accumulate) {
    write(tensor);
    return;
  }
  const part = Tensor.empty(tensor.gpu, tensor.shape, tensor.dtype, tensor.label);
  write(part);
  addInto(part, tensor);
}

/** For an input whose gradient is dy itself: hands dy on without a copy where that can be, else adds or copies it. */
export function passGrad<D extends string>(
  call: BackwardCall<D, unknown, unknown>,
  name: InputName<D>,
): void {
  if (call.pass(name)) return;
  const { tensor, accumulate } = call.grad(name);
  if (accumulate) addInto(call.dy, tensor);
  else call.dy.gpu.copy(call.dy, tensor);
}
