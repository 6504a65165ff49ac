/** Where a gradient goes when no kernel writes it, or one that cannot add to what is there. */
import type { BackwardCall } from '../autograd/op.js';
import { Tensor } from '../tensor/tensor.js';
import { addInto } from './scale.js';

/** Lets `write` fill the gradient of input i whole, then adds it to what other users of the input have left. */
export function wholeGrad<A>(call: BackwardCall<A>, i: number, write: (target: Tensor) => void): void {
  const { tensor, accumulate } = call.grad(i);
  if (!accumulate) {
    write(tensor);
    return;
  }
  const part = Tensor.empty(tensor.gpu, tensor.shape, tensor.dtype, tensor.label);
  write(part);
  addInto(part, tensor);
}

/** The gradient of input i is dy itself: handed on without a copy where that can be. */
export function passGrad<A>(call: BackwardCall<A>, i: number): void {
  if (!call.wants(i) || call.pass(i)) return;
  const { tensor, accumulate } = call.grad(i);
  if (accumulate) addInto(call.dy, tensor);
  else call.dy.gpu.copy(call.dy, tensor);
}
