/**
 * All parameters in one flat tensor, `[decayed | not decayed | not trained]`, their gradients in another of the same
 * layout: the optimizer, the norm and checks are then one dispatch over one range. Every parameter starts on 512 bytes,
 * so that it can be bound by itself; what lies between is zero and stays zero.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { Parameter } from './parameter.js';
import { keep } from './scope.js';
import { Tensor } from './tensor.js';

// Floats: WebGPU's default storage offset alignment, in a copy of f16 too.
const ALIGN = 128;

export interface Slot {
  readonly parameter: Parameter;
  /** Floats from the start of the arena. */
  readonly start: number;
}

/** Where parameters that lie side by side are in a flat tensor: the whole arena, or a section of it. */
export class Layout {
  constructor(
    readonly gpu: Gpu,
    readonly slots: readonly Slot[],
    /** Floats of the arena before the section. */
    readonly start: number,
    /** Floats, padding included. */
    readonly size: number,
  ) {}

  /** The parameter that float `index` of a tensor of this layout belongs to; null beyond the last. */
  nameAt(index: number): string | null {
    if (index >= this.size) return null;
    return this.slots.findLast(({ start }) => start - this.start <= index)?.parameter.name ?? null;
  }

  /** Another tensor of the same layout, zero: moments, averages. */
  like(label: string): Tensor {
    return keep(Tensor.zeros(this.gpu, [this.size], 'f32', label));
  }

  /** This section of a tensor of the whole arena; the same memory. */
  of(whole: Tensor): Tensor {
    return keep(whole.view([this.size], this.start));
  }

  /** Writes one array a parameter, by name, into a tensor of this layout. */
  write(target: Tensor, values: (parameter: Parameter) => Float32Array): void {
    const flat = new Float32Array(this.size);
    for (const { parameter, start } of this.slots) flat.set(values(parameter), start - this.start);
    target.upload(flat);
  }

  /** Reads a tensor of this layout back, one array a parameter, by name. */
  async read(source: Tensor): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const flat = await source.toFloat32();
    return new Map(
      this.slots.map(({ parameter, start }) => {
        const at = start - this.start;
        return [parameter.name, flat.slice(at, at + parameter.size)];
      }),
    );
  }
}

/** A tensor and the layout that says whose values it holds. */
export interface Part {
  readonly layout: Layout;
  readonly tensor: Tensor;
}

export class Arena extends Layout {
  /** Floats at the front that weight decay applies to. */
  readonly decayed: number;
  /** All but the parameters that keep their first values: what optimizers and averages work on. */
  readonly trained: Layout;
  readonly values: Tensor;
  readonly gradients: Tensor;

  /** Parameters of one kind keep their order: what must lie side by side is given side by side. */
  constructor(gpu: Gpu, parameters: readonly Parameter[], decays: (parameter: Parameter) => boolean) {
    const kinds = [
      (parameter: Parameter) => parameter.trained && decays(parameter),
      (parameter: Parameter) => parameter.trained && !decays(parameter),
      (parameter: Parameter) => !parameter.trained,
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

  /** Gives every parameter a copy in f16, and returns them all, flat: to be filled whenever the values have changed. */
  makeHalves(): Tensor {
    const halves = keep(Tensor.zeros(this.gpu, [this.size], 'f16', 'parameters.half'));
    for (const { parameter, start } of this.slots)
      parameter.tensor.half = keep(halves.view(parameter.shape, start, parameter.name));
    return halves;
  }

  /** The parameters from float `from` up to float `to`, both of them starts of slots or the end. */
  section(from: number, to = this.size): Layout {
    const inside = this.slots.filter(({ start }) => start >= from && start < to);
    return new Layout(this.gpu, inside, from, to - from);
  }

  /** Runs `body` while the parameters have the values of another tensor of this layout, such as their average. */
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
