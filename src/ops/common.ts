/** What several ops need: quads, rows, and where a gradient goes when its kernel cannot add to what is there. */
import type { BackwardCall } from '../autograd/op.js';
import { numel, type Shape } from '../core/shape.js';
import { Tensor } from '../tensor/tensor.js';
import { addInto } from './scale.js';

/** Invocations of the elementwise kernels' workgroups (their `WG`). */
export const ELEMENTWISE_WG = 256;
/** Invocations of the row and column kernels' workgroups. */
export const ROW_WG = 64;

/** Groups of four elements: what an elementwise invocation computes. */
export const quadsOf = (n: number): number => Math.ceil(n / 4);

export const groupsFor = (invocations: number, size: number): number => Math.ceil(invocations / size);

/** Workgroups of an elementwise kernel over n elements. */
export const elementwise = (n: number): number => groupsFor(quadsOf(n), ELEMENTWISE_WG);

/** Lets `write` fill the gradient of input i whole, then adds it to what other users of the input have left. */
export function wholeGrad<A>(call: BackwardCall<A>, i: number, write: (target: Tensor) => void): void {
  const { tensor, accumulate } = call.grad(i);
  if (!accumulate) {
    write(tensor);
    return;
  }
  const part = Tensor.empty(tensor.gpu, tensor.shape, 'f32', tensor.label);
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

/** Float64 results of `f` for every index of `shape`, flat. */
export const tabulate = (shape: Shape, f: (i: number) => number): Float64Array =>
  Float64Array.from({ length: numel(shape) }, (_, i) => f(i));
