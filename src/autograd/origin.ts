/** The origin of a dispatch: which op it belongs to, for profiles of a step by op. */
import type { Origin } from '../gpu/commands.js';
import type { Tensor } from '../tensor/tensor.js';
import { given, type Inputs, mapInputs } from './inputs.js';
import type { AnyOp } from './op.js';

/** The origin of the kernels of one pass of an op. An input with a gradient of its own in the arena is a parameter. */
export function originOf(op: AnyOp, pass: Origin['pass'], inputs: Inputs<Tensor>, attrs: unknown): Origin {
  const parameter = given(inputs).find(([, tensor]) => tensor.grad)?.[1].label ?? '';
  const forward = op.flops(
    mapInputs(inputs, ({ shape }) => shape),
    attrs,
  );
  const flops = pass === 'forward' ? forward : forward * (op.backwardFlops ?? 1);
  return { op: op.name, pass, parameter, flops };
}
