/** A tensor of a model: its name, shape and first values; its memory is a part of an arena. */
import { Counter, stream } from '../core/rng.js';
import { formatShape, numel, type Shape } from '../core/shape.js';
import type { Tensor } from './tensor.js';

/** First values of a parameter, element by element. */
export type Init = (random: Counter, shape: Shape) => (i: number) => number;

export class Parameter {
  /** The path of names from the model to here: timm's name for it. Given by the module that owns it. */
  name = '';
  private bound: Tensor | null = null;

  constructor(
    readonly shape: Shape,
    readonly init: Init,
    /** False for what keeps its first values, such as fixed positions: it has no gradient, and no optimizer moves it. */
    readonly trained = true,
  ) {}

  get size(): number {
    return numel(this.shape);
  }

  /** The values on the device; an error before the model is put on one. */
  get tensor(): Tensor {
    if (!this.bound)
      throw new Error(`Parameter ${this.name} ${formatShape(this.shape)} is not on a device yet.`);
    return this.bound;
  }

  bind(tensor: Tensor): void {
    this.bound = tensor;
  }

  /** The values that training starts from; `index` is the parameter's place in the model. */
  initial(seed: number, index: number): Float32Array<ArrayBuffer> {
    const value = this.init(new Counter(seed, stream.init, index), this.shape);
    return Float32Array.from({ length: this.size }, (_, i) => value(i));
  }
}
