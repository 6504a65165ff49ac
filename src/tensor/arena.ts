/**
 * All parameters in one flat tensor, `[decayed | not decayed]`, their gradients in another of the same layout: the
 * optimizer, the norm and checks are then one dispatch over one range. Every parameter starts on 256 bytes, so that it
 * can be bound by itself; what lies between is zero and stays zero.
 */
import type { Gpu } from '../gpu/gpu.js';
import type { Parameter } from './parameter.js';
import { keep } from './scope.js';
import { Tensor } from './tensor.js';

const ALIGN = 64; // floats: WebGPU's default storage offset alignment

export interface Slot {
  readonly parameter: Parameter;
  /** Floats from the start of the arena. */
  readonly start: number;
}

export class Arena {
  readonly slots: readonly Slot[];
  /** Floats, padding included. */
  readonly size: number;
  /** Floats at the front that weight decay applies to. */
  readonly decayed: number;
  readonly values: Tensor;
  readonly gradients: Tensor;

  constructor(
    readonly gpu: Gpu,
    parameters: readonly Parameter[],
    decays: (parameter: Parameter) => boolean,
  ) {
    let start = 0;
    const place = (parameter: Parameter): Slot => {
      const slot = { parameter, start };
      start += Math.ceil(parameter.size / ALIGN) * ALIGN;
      return slot;
    };
    const front = parameters.filter(decays).map(place);
    this.decayed = start;
    const back = parameters.filter((parameter) => !decays(parameter)).map(place);
    this.size = start;
    this.slots = [...front, ...back];
    this.values = this.like('parameters');
    this.gradients = this.like('gradients');
    for (const { parameter, start: at } of this.slots) {
      const tensor = keep(this.values.view(parameter.shape, at, parameter.name));
      tensor.requiresGrad = true;
      tensor.grad = keep(this.gradients.view(parameter.shape, at, `d${parameter.name}`));
      parameter.bind(tensor);
    }
  }

  /** The parameter that float `index` of a tensor of this layout belongs to; null beyond the last. */
  nameAt(index: number): string | null {
    if (index >= this.size) return null;
    return this.slots.findLast(({ start }) => start <= index)?.parameter.name ?? null;
  }

  /** Another tensor of the same layout, zero: moments, averages. */
  like(label: string): Tensor {
    return keep(Tensor.zeros(this.gpu, [this.size], 'f32', label));
  }

  /** Writes one array a parameter, by name, into a tensor of this layout. */
  write(target: Tensor, values: (parameter: Parameter) => Float32Array): void {
    const flat = new Float32Array(this.size);
    for (const { parameter, start } of this.slots) flat.set(values(parameter), start);
    target.upload(flat);
  }

  /** Reads a tensor of this layout back, one array a parameter, in the model's own order of names. */
  async read(source: Tensor): Promise<Map<string, Float32Array<ArrayBuffer>>> {
    const flat = await source.toFloat32();
    return new Map(
      this.slots.map(({ parameter, start }) => [parameter.name, flat.slice(start, start + parameter.size)]),
    );
  }
}
