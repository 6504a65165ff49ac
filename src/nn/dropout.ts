/** Random omission: of elements, or of whole samples of a residual branch. The identity when not training. */
import { dropout, dropPath } from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Mode } from './module.js';

/** Hands every random layer of a model a stream of its own. */
export class Streams {
  private next = 1000; // below are the streams of src/core/rng.ts
  take(): number {
    return this.next++;
  }
}

/** The key of this step's draws; an error when a training pass was given none. */
export function requireKey(mode: Mode): Tensor {
  if (!mode.key) throw new Error('A training pass with dropout needs the key of its random draws.');
  return mode.key;
}

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

/** How drop path is spread over the blocks of a model: growing from 0 in the first one, or the same in all. */
export type DropPathMode = 'linear' | 'constant';

/** The rate of drop path in every block. A model of one block has 0 in linear mode, as timm's torch.linspace(0, rate, 1). */
export function dropPathRates(rate: number, depth: number, mode: DropPathMode): number[] {
  return Array.from({ length: depth }, (_, i) =>
    mode === 'constant' ? rate : (rate * i) / Math.max(1, depth - 1),
  );
}

/** Stochastic depth: drops the branch of a sample (Huang et al., 2016), as timm's DropPath. */
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
