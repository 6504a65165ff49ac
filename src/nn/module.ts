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
  /** All parameters, depth first in order of the fields, named by their path: `blocks.0.attn.qkv.weight`. */
  parameters(prefix = ''): Parameter[] {
    const found: Parameter[] = [];
    const visit = (value: unknown, path: string): void => {
      if (value instanceof Parameter) {
        value.name = path;
        found.push(value);
      } else if (value instanceof Module) found.push(...value.parameters(`${path}.`));
      else if (Array.isArray(value)) for (const [i, item] of value.entries()) visit(item, `${path}.${i}`);
    };
    for (const [name, value] of Object.entries(this)) visit(value, prefix + snake(name));
    return found;
  }
}
