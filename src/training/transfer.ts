/** From one phase of a run to the next: the weights, their average, the optimizer's moments and the loss scale. */

import { sameShape } from '../core/shape.js';
import type { Model } from '../models/model.js';
import type { Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Trainable } from './trainable.js';

/** The tensors of a model in training, by the names of a run's state. */
export const partsOf = ({
  arena,
  optimizer,
  ema,
}: Pick<Trainable, 'arena' | 'optimizer' | 'ema'>): Readonly<Record<string, Part>> => ({
  weights: { layout: arena, tensor: arena.values },
  ...optimizer.state,
  ...(ema ? { ema: { layout: arena, tensor: ema.average } } : {}),
});

/**
 * Copies what `from` has learned into `to`, whose parameters have the same names. A parameter of another shape is resampled by
 * its model; the second moment of AdamW becomes its mean there, because it is no linear function of the weights. Parameters
 * that were not trained before have no moments.
 */
export async function transfer(from: Trainable, to: Trainable): Promise<void> {
  const source = partsOf(from);
  for (const [kind, { layout, tensor }] of Object.entries(partsOf(to))) {
    const part = source[kind];
    if (!part) continue;
    const values = await part.layout.read(part.tensor);
    const shapes = new Map(part.layout.slots.map(({ parameter }) => [parameter.name, parameter.shape]));
    const carried = (parameter: Parameter): Float32Array | null => {
      const [old, shape] = [values.get(parameter.name), shapes.get(parameter.name)];
      if (!old || !shape) return null;
      if (sameShape(shape, parameter.shape)) return old;
      if (kind === 'v')
        return new Float32Array(parameter.size).fill(old.reduce((sum, x) => sum + x, 0) / old.length);
      return to.model.resampled(parameter.name, old, from.model);
    };
    layout.write(tensor, carried);
  }
  const scale = await from.lossScale?.values();
  if (scale) to.lossScale?.restore(scale);
}

/** Throws if a model cannot take over what the model before it has learned, by the shapes of their parameters. */
export function checkTransfers(models: readonly Model[]): void {
  for (const [i, model] of models.entries()) {
    const before = models[i - 1];
    if (!before) continue;
    const shapes = new Map(before.parameters().map((parameter) => [parameter.name, parameter]));
    for (const { name, shape } of model.parameters()) {
      const old = shapes.get(name);
      if (old && !sameShape(old.shape, shape)) model.resampled(name, new Float32Array(old.size), before);
    }
  }
}
