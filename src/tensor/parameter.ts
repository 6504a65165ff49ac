/** A tensor of a model: its name, shape, first values and role; its memory is a part of an arena. */
import { Counter, stream } from '../core/rng.js';
import { formatShape, numel, type Shape } from '../core/shape.js';
import type { Tensor } from './tensor.js';

/** The initial value of each element of a parameter. */
export type Init = (random: Counter, shape: Shape) => (i: number) => number;

/** How training treats a parameter. */
export interface Role {
  /**
   * `trained`: has a gradient, and the optimizer moves it. `fixed`: keeps its first values, as fixed positions do.
   * `statistic`: a buffer in PyTorch's sense, such as a running mean; no optimizer moves it, checkpoints and the EMA hold it.
   */
  readonly kind?: 'trained' | 'fixed' | 'statistic';
  /** Whether weight decay applies to it (`--decay matrices`). When absent, timm's rule: two or more axes. */
  readonly decays?: boolean;
  /** For a hidden layer's weight: the number of matrices stacked along its first axis. Muon moves these; 0 for none. */
  readonly matrices?: number;
}

/** A tensor that a model owns. It has a shape from the start, and memory once an `Arena` has put it on a device. */
export class Parameter {
  /** The path of names from the model to this parameter, as timm names it. Set by the module that owns it. */
  name = '';
  readonly role: Required<Role>;
  private bound: Tensor | null = null;

  constructor(
    readonly shape: Shape,
    readonly init: Init,
    role: Role = {},
  ) {
    this.role = { kind: 'trained', decays: shape.length >= 2, matrices: 0, ...role };
  }

  get size(): number {
    return numel(this.shape);
  }

  get trained(): boolean {
    return this.role.kind === 'trained';
  }

  /** The values on the device; an error before the model is put on one. */
  get tensor(): Tensor {
    if (!this.bound)
      throw new Error(`Parameter ${this.name} ${formatShape(this.shape)} is not on a device yet.`);
    return this.bound;
  }

  /** Gives it memory on a device. An arena calls it. */
  bind(tensor: Tensor): void {
    this.bound = tensor;
  }

  /** The initial values; `index` is the parameter's place in the model. */
  initial(seed: number, index: number): Float32Array<ArrayBuffer> {
    const value = this.init(new Counter(seed, stream.init, index), this.shape);
    return Float32Array.from({ length: this.size }, (_, i) => value(i));
  }
}
