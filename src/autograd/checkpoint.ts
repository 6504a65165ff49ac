/**
 * Gradient checkpointing (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost"), as
 * torch.utils.checkpoint: the backward pass computes activations again, so that they need no memory until then.
 */
import type { Tensor } from '../tensor/tensor.js';
import { activeTape, Tape } from './tape.js';

/**
 * Returns `body(...inputs)`. While a tape records, it keeps only `inputs`, and the backward pass runs `body` a second time.
 * `body` must compute the same both times. Random ops of this library do, because they count and keep no generator
 * state. Other tensors that `body` reads, such as parameters and the key of random numbers, must live until then. What else
 * `body` does, such as to observe attention, happens twice.
 */
export function checkpoint<T extends readonly Tensor[]>(
  body: (...inputs: T) => Tensor,
  ...inputs: T
): Tensor {
  const outer = activeTape();
  if (!outer) return body(...inputs);
  const again = () => body(...inputs);
  const tape = new Tape();
  const output = tape.run(again);
  const { flops } = tape;
  const { length } = tape.records;
  tape.clear();
  if (length > 0) outer.recompute({ body: again, inputs, output, flops });
  return output;
}
