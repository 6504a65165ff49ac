/** A part of a model: it owns parameters and other modules as fields, and gets their names from the fields' names. */
import { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** What a forward pass needs to know besides its input. */
export interface Mode {
  /** Dropout and drop path are on. */
  readonly training: boolean;
  /** Seed and step of random draws; needed when training with any of them. */
  readonly key?: Tensor | undefined;
  /** Sees what each attention computes from, block by block: qkv (B, N, 3·H·head_dim); `keep` it to have it afterwards. */
  readonly observeAttention?: ((qkv: Tensor) => void) | undefined;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

export abstract class Module {
  /** All parameters, depth first in order of the fields. Each gets its path as its name: `blocks.0.attn.qkv.weight`. */
  parameters(): Parameter[] {
    return this.paths().map(([path, parameter]) => {
      parameter.name = path;
      return parameter;
    });
  }

  /** Every parameter with its path from here; a module that is part of another may be asked, and no name changes. */
  paths(prefix = ''): [path: string, parameter: Parameter][] {
    const visit = (value: unknown, path: string): [string, Parameter][] => {
      if (value instanceof Parameter) return [[path, value]];
      if (value instanceof Module) return value.paths(`${path}.`);
      return Array.isArray(value) ? value.flatMap((item, i) => visit(item, `${path}.${i}`)) : [];
    };
    return Object.entries(this).flatMap(([name, value]) => visit(value, prefix + snake(name)));
  }
}

/** A part of a model; null for one that it does not have. */
export type ModelPart = Module | Parameter | null;

/** The parameters of parts of a model, in order. */
export const partsOf = (...parts: readonly ModelPart[]): Parameter[] =>
  parts.flatMap((part) =>
    part instanceof Module ? part.paths().map(([, parameter]) => parameter) : (part ?? []),
  );
