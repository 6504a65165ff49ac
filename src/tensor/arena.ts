/**
 * All parameters in one flat tensor, `[decayed | not decayed | statistics | fixed]`, their gradients in another of the same
 * layout: the optimizer, the norm and checks are then one dispatch over one range. Every parameter starts on 512 bytes,
 * so that it can be bound by itself; what lies between is zero and stays zero.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { Region } from '../gpu/pool.js';
import type { Parameter } from './parameter.js';
import { keep } from './scope.js';
import { Tensor } from './tensor.js';

// In floats: 512 bytes, so that the f16 copy, too, keeps WebGPU's default storage offset alignment of 256 bytes.
const ALIGN = 128;
/** Floats on the host at a time while an arena is written or read: 8 MiB, so that many small parameters share a copy. */
const PIECE = 2 << 20;

/** A parameter and its place in an arena. */
export interface Slot {
  readonly parameter: Parameter;
  /** Floats from the start of the arena. */
  readonly start: number;
}

/** The places of contiguous parameters in a flat tensor: of the whole arena, or of a section of it. */
export class Layout {
  constructor(
    readonly gpu: Gpu,
    readonly slots: readonly Slot[],
    /** Floats of the arena before the section. */
    readonly start: number,
    /** Floats, padding included. */
    readonly size: number,
  ) {}

  /** The parameter at float `index` of a tensor of this layout; null beyond the last parameter. */
  nameAt(index: number): string | null {
    if (index >= this.size) return null;
    return this.slots.findLast(({ start }) => start - this.start <= index)?.parameter.name ?? null;
  }

  /** A new tensor of this layout, all zeros: for moments and averages. */
  like(label: string): Tensor {
    return keep(Tensor.zeros(this.gpu, [this.size], 'f32', label));
  }

  /** The part of a whole-arena tensor that this section covers; shares its memory. */
  of(whole: Tensor): Tensor {
    return keep(whole.view([this.size], this.start));
  }

  /**
   * Writes the values of every parameter into a tensor of this layout, as one array a parameter or as several in order. A
   * parameter whose values are null is left as it is. Uses host memory for `most` floats.
   */
  write(
    target: Tensor,
    values: (parameter: Parameter) => Float32Array | Iterable<Float32Array> | null,
    most = PIECE,
  ): void {
    const window = new Window(target, Math.min(this.size, most));
    for (const { parameter, start } of this.slots) {
      const given = values(parameter);
      window.pad(start - this.start);
      if (given === null) window.skip(parameter.size);
      else for (const piece of given instanceof Float32Array ? [given] : given) window.add(piece);
    }
    window.pad(this.size);
    window.flush();
  }

  /**
   * Reads a tensor of this layout back piece by piece, `most` floats at a time, because the host may not have room for
   * all of it: parameters in the order of the layout, each in one piece or in several. Nothing may write the tensor meanwhile.
   */
  async *pieces(source: Tensor, most = PIECE): AsyncGenerator<ParameterPiece> {
    const floats = Math.min(this.size, most);
    for (let from = 0; from < this.size; from += floats) {
      // The last read starts before `from`, so that all reads have one size: the device keeps a staging buffer for each size.
      const begin = Math.min(from, this.size - floats);
      const bytes = await this.gpu.read(part(source, begin, floats));
      const window = new Float32Array(bytes);
      for (const { parameter, start } of this.slots) {
        const first = start - this.start;
        const [low, high] = [Math.max(first, from), Math.min(first + parameter.size, begin + floats)];
        if (low < high) yield { parameter, values: window.subarray(low - begin, high - begin) };
      }
    }
  }

  /** Reads a tensor of this layout back, one array a parameter, by name. */
  async read(source: Tensor): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const read = new Map(
      this.slots.map(({ parameter }) => [
        parameter.name,
        { values: new Float32Array(parameter.size), filled: 0 },
      ]),
    );
    for await (const { parameter, values } of this.pieces(source)) {
      const into = read.get(parameter.name) as { values: Float32Array; filled: number };
      into.values.set(values, into.filled);
      into.filled += values.length;
    }
    return new Map([...read].map(([name, { values }]) => [name, values]));
  }
}

/** Consecutive values of a parameter. The pieces of a parameter come in order. */
export interface ParameterPiece {
  readonly parameter: Parameter;
  readonly values: Float32Array<ArrayBuffer>;
}

/** The floats of an f32 tensor from `start` on. */
const part = ({ buffer, offset }: Tensor, start: number, floats: number): Region => ({
  buffer,
  offset: offset + 4 * start,
  bytes: 4 * floats,
});

/** Collects contiguous values and uploads them together, because each upload has a fixed cost. */
class Window {
  private readonly values: Float32Array<ArrayBuffer>;
  /** Floats of the tensor before the window. */
  private begin = 0;
  private filled = 0;

  constructor(
    private readonly target: Tensor,
    floats: number,
  ) {
    this.values = new Float32Array(floats);
  }

  add(values: Float32Array): void {
    for (let at = 0; at < values.length; ) {
      if (this.filled === this.values.length) this.flush();
      const piece = values.subarray(at, at + this.values.length - this.filled);
      this.values.set(piece, this.filled);
      this.filled += piece.length;
      at += piece.length;
    }
  }

  /** Adds zeros up to float `end` of the tensor. */
  pad(end: number): void {
    this.add(new Float32Array(end - this.begin - this.filled));
  }

  /** Skips floats of the tensor, which keep their values. */
  skip(floats: number): void {
    this.flush();
    this.begin += floats;
  }

  flush(): void {
    const { begin, filled, target } = this;
    if (filled > 0) target.gpu.upload(part(target, begin, filled), this.values.subarray(0, filled));
    this.begin += filled;
    this.filled = 0;
  }
}

/** A tensor, and the layout that says which parameters its values belong to. */
export interface Part {
  readonly layout: Layout;
  readonly tensor: Tensor;
}

/** All parameters of a model and their gradients on a device. See the head of src/tensor/arena.ts for the layout. */
export class Arena extends Layout {
  /** Floats at the front that weight decay applies to. */
  readonly decayed: number;
  /** The parameters that have gradients: optimizers work on these. */
  readonly trained: Layout;
  /** The trained parameters and the statistics: the EMA averages these. */
  readonly moving: Layout;
  readonly values: Tensor;
  readonly gradients: Tensor;

  /** Parameters of one kind keep their order, so that adjacent ones are contiguous in the arena. */
  constructor(gpu: Gpu, parameters: readonly Parameter[], decays: (parameter: Parameter) => boolean) {
    const kinds = [
      (parameter: Parameter) => parameter.trained && decays(parameter),
      (parameter: Parameter) => parameter.trained && !decays(parameter),
      (parameter: Parameter) => parameter.role.kind === 'statistic',
      (parameter: Parameter) => parameter.role.kind === 'fixed',
    ];
    let start = 0;
    const ends: number[] = [];
    const slots: Slot[] = [];
    for (const kind of kinds) {
      for (const parameter of parameters.filter(kind)) {
        slots.push({ parameter, start });
        start += Math.ceil(parameter.size / ALIGN) * ALIGN;
      }
      ends.push(start);
    }
    super(gpu, slots, 0, start);
    this.decayed = ends[0] as number;
    this.trained = this.section(0, ends[1]);
    this.moving = this.section(0, ends[2]);
    this.values = this.like('parameters');
    this.gradients = this.like('gradients');
    for (const { parameter, start: at } of slots) {
      const tensor = keep(this.values.view(parameter.shape, at, parameter.name));
      tensor.requiresGrad = parameter.trained;
      if (parameter.trained)
        tensor.grad = keep(this.gradients.view(parameter.shape, at, `d${parameter.name}`));
      parameter.bind(tensor);
    }
  }

  /**
   * Draws the initial values of every parameter from a random stream of its own. The stream's number is the parameter's
   * index in `parameters`, which is the model's order; the arena itself sorts them by kind.
   */
  initialise(parameters: readonly Parameter[], seed: number): void {
    const places = new Map(parameters.map((parameter, place) => [parameter, place]));
    this.write(this.values, (parameter) => {
      const place = places.get(parameter);
      if (place === undefined)
        throw new Error(`Parameter ${parameter.name} of the arena is not among those given.`);
      return parameter.initial(seed, place);
    });
  }

  /** Gives every parameter a copy in f16. Returns all copies as one flat tensor, to be filled after every change of values. */
  makeHalves(): Tensor {
    const halves = keep(Tensor.zeros(this.gpu, [this.size], 'f16', 'parameters.half'));
    for (const { parameter, start } of this.slots)
      parameter.tensor.half = keep(halves.view(parameter.shape, start, parameter.name));
    return halves;
  }

  /** The parameters from float `from` up to float `to`. Both are starts of parameters, or the end. */
  section(from: number, to = this.size): Layout {
    const inside = this.slots.filter(({ start }) => start >= from && start < to);
    return new Layout(this.gpu, inside, from, to - from);
  }

  /** Runs `body` while the parameters are views of another tensor of this layout, such as their average. */
  async withValues<T>(values: Tensor, body: () => Promise<T>): Promise<T> {
    const own = this.slots.map(({ parameter }) => parameter.tensor);
    const others = this.slots.map(({ parameter, start }) =>
      keep(values.view(parameter.shape, start, parameter.name)),
    );
    const bind = (tensors: readonly Tensor[]) => {
      for (const [i, { parameter }] of this.slots.entries()) parameter.bind(tensors[i] as Tensor);
    };
    bind(others);
    try {
      return await body();
    } finally {
      bind(own);
      for (const tensor of others) tensor.release();
    }
  }
}
