/** Modules, as in PyTorch: parameters and other modules are fields, and the names of fields are the names of parameters. */
import { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** The mode of a forward pass. */
export interface Mode {
  /** True to apply dropout, drop path and patch dropout. */
  readonly training: boolean;
  /** Seed and step (2) of the random numbers. Required for training with any of them. */
  readonly key?: Tensor | undefined;
  /** Called by each attention layer, in order, with its qkv (B, N, 3·H·head_dim). Use `keep` to read it later. */
  readonly observeAttention?: ((qkv: Tensor) => void) | undefined;
  /** Called after each block, in order, with its output (B, N, D). Use `keep` to read it later. */
  readonly observeBlock?: ((tokens: Tensor) => void) | undefined;
}

const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** A part of a model. Arrays of modules are indexed in names, camelCase fields become snake_case. */
export abstract class Module {
  /** All parameters, depth first in the order of the fields. Sets the name of each to its path: `blocks.0.attn.qkv.weight`. */
  parameters(): Parameter[] {
    return this.paths().map(([path, parameter]) => {
      parameter.name = path;
      return parameter;
    });
  }

  /** Every parameter with its path from this module. Unlike `parameters`, it changes no names. */
  paths(prefix = ''): [path: string, parameter: Parameter][] {
    const visit = (value: unknown, path: string): [string, Parameter][] => {
      if (value instanceof Parameter) return [[path, value]];
      if (value instanceof Module) return value.paths(`${path}.`);
      return Array.isArray(value) ? value.flatMap((item, i) => visit(item, `${path}.${i}`)) : [];
    };
    return Object.entries(this).flatMap(([name, value]) => visit(value, prefix + snake(name)));
  }
}

/** A part of a model; null for a part that the model lacks. */
export type ModelPart = Module | Parameter | null;

/** The parameters of parts of a model, in order. */
export const partsOf = (...parts: readonly ModelPart[]): Parameter[] =>
  parts.flatMap((part) =>
    part instanceof Module ? part.paths().map(([, parameter]) => parameter) : (part ?? []),
  );
