/** Sampling of batches. Batch i of epoch e depends only on the seed, e and i, so there is no state to save. */
import { permutation, stream } from '../core/rng.js';

/** Divides records into batches, in a new random order each epoch. */
export class Sampler {
  private epoch = -1;
  private order: Uint32Array;

  constructor(
    /** The records to draw from, in file order. */
    private readonly records: Uint32Array,
    readonly batchSize: number,
    private readonly options: { readonly shuffle: boolean; readonly seed: number },
  ) {
    this.order = records;
  }

  get count(): number {
    return this.records.length;
  }

  /** Batches per epoch. The last one may be smaller, as in PyTorch's DataLoader without drop_last. */
  get batches(): number {
    return Math.ceil(this.records.length / this.batchSize);
  }

  /** The records of batch i of an epoch; both count from 0. */
  batch(epoch: number, i: number): Uint32Array<ArrayBuffer> {
    if (this.options.shuffle && epoch !== this.epoch) {
      const places = permutation(this.records.length, this.options.seed, stream.shuffle, epoch);
      this.order = places.map((place) => this.records[place] as number);
      this.epoch = epoch;
    }
    return this.order.slice(i * this.batchSize, (i + 1) * this.batchSize) as Uint32Array<ArrayBuffer>;
  }
}

export interface SplitIndices {
  readonly train: Uint32Array;
  readonly validation: Uint32Array;
}

/** Holds out `held` of the records 0 to count − 1, chosen at random by the seed. Both parts are in file order. */
export function splitIndices(count: number, held: number, seed: number): SplitIndices {
  const order = permutation(count, seed, stream.split, 0);
  const sorted = (part: Uint32Array) => part.slice().sort((a, b) => a - b);
  if (held === 0)
    return { train: Uint32Array.from({ length: count }, (_, i) => i), validation: new Uint32Array() };
  return { train: sorted(order.subarray(held)), validation: sorted(order.subarray(0, held)) };
}
