/** Dropout of elements, and drop path of whole samples. Both are the identity in evaluation mode. */
import { dropout, dropPath } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Mode } from './module.js';

/** Gives each random layer of a model its own stream of random numbers. */
export class Streams {
  private next = 1000; // src/core/rng.ts uses smaller numbers
  take(): number {
    return this.next++;
  }
}

/** The key of the random numbers of this step. Throws an Error if the mode has none. */
export function requireKey(mode: Mode): Tensor {
  if (!mode.key) throw new Error('Dropout in training mode needs mode.key, the key of its random numbers.');
  return mode.key;
}

/** torch.nn.Dropout: in training, zeroes elements with probability `rate` and divides the others by 1 - rate. */
export class Dropout {
  private readonly stream: number;
  constructor(
    readonly rate: number,
    streams: Streams,
  ) {
    this.stream = streams.take();
  }

  active(mode: Mode): boolean {
    return this.rate > 0 && mode.training;
  }

  forward(x: Tensor, mode: Mode): Tensor {
    return !this.active(mode) ? x : dropout(x, requireKey(mode), this.rate, this.stream);
  }
}

/** The rates of drop path over the blocks of a model: growing linearly from 0 in the first block, or the same in all. */
export type DropPathMode = 'linear' | 'constant';

/** The drop path rate of each block. In linear mode a single block has rate 0, as in timm: torch.linspace(0, rate, 1). */
export function dropPathRates(rate: number, depth: number, mode: DropPathMode): number[] {
  return Array.from({ length: depth }, (_, i) =>
    mode === 'constant' ? rate : (rate * i) / Math.max(1, depth - 1),
  );
}

/** Stochastic depth (Huang et al., 2016; timm's DropPath): in training, drops a sample's branch with probability `rate`. */
export class DropPath {
  private readonly stream: number;
  constructor(
    readonly rate: number,
    streams: Streams,
  ) {
    this.stream = streams.take();
  }

  active(mode: Mode): boolean {
    return this.rate > 0 && mode.training;
  }

  forward(x: Tensor, mode: Mode): Tensor {
    return !this.active(mode) ? x : dropPath(x, requireKey(mode), this.rate, this.stream);
  }
}
