/**
 * Checkpoints as safetensors with timm's names. A weights file holds the model alone; a state file holds all that an
 * exact continuation needs: weights, moments, average, and the counters in its metadata.
 */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, FormatError } from '../core/errors.js';
import { formatShape, sameShape } from '../core/shape.js';
import { readBytes } from '../io/read.js';
import {
  asFloat32,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type Safetensors,
} from '../io/safetensors.js';
import type { Layout, Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Tensor } from '../tensor/tensor.js';

/** What a state file holds besides the weights. */
export const statePrefixes = { m: 'adamw.m.', v: 'adamw.v.', momentum: 'muon.m.', ema: 'ema.' } as const;
const STATE_PREFIXES = Object.values(statePrefixes);

type Metadata = Readonly<Record<string, unknown>>;

/** Tensors by the prefix of their names in the file: '' for the model's own weights. */
export type Parts = Readonly<Record<string, Part>>;

/** The given parts, each with its parameters in the given order, as the bytes of a file. */
export async function encodeCheckpoint(
  order: readonly Parameter[],
  parts: Parts,
  metadata: Metadata,
): Promise<Uint8Array> {
  const tensors = new Map();
  for (const [prefix, { layout, tensor }] of Object.entries(parts)) {
    const values = await layout.read(tensor);
    for (const { name, shape } of order) {
      const value = values.get(name);
      if (value) tensors.set(prefix + name, fromFloat32([...shape], value));
    }
  }
  const texts = Object.entries(metadata).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  return encodeSafetensors(tensors, { format: 'pt', ...Object.fromEntries(texts) });
}

export function readCheckpoint(path: string): Safetensors {
  return decodeSafetensors(path, readBytes(path));
}

/** Loads one part by strict names and shapes; the error lists what does not fit. */
export function loadPart(
  path: string,
  { tensors }: Safetensors,
  layout: Layout,
  target: Tensor,
  prefix = '',
): void {
  const problems: string[] = [];
  for (const { parameter } of layout.slots) {
    const tensor = tensors.get(prefix + parameter.name);
    if (!tensor) problems.push(`${prefix}${parameter.name} is missing`);
    else if (!sameShape(tensor.shape, parameter.shape))
      problems.push(
        `${prefix}${parameter.name} is ${formatShape(tensor.shape)} instead of ${formatShape(parameter.shape)}`,
      );
  }
  const names = new Set(layout.slots.map(({ parameter }) => prefix + parameter.name));
  for (const name of tensors.keys())
    if (prefix === '' && !names.has(name) && !STATE_PREFIXES.some((other) => name.startsWith(other)))
      problems.push(`${name} is not a part of this model`);
  if (problems.length > 0) {
    const more = problems.length > 4 ? `; and ${problems.length - 4} more` : '';
    throw new FormatError(path, `does not fit this model: ${problems.slice(0, 4).join('; ')}${more}.`);
  }
  layout.write(target, ({ name }) => asFloat32(tensors.get(prefix + name) as never));
}

/** JSON from a checkpoint's metadata; a FormatError names the field that is missing or damaged. */
export function metadataField<T>(path: string, { metadata }: Safetensors, field: string): T {
  const text = metadata[field];
  if (text === undefined)
    throw new FormatError(path, `its metadata has no ${field}: it is not a checkpoint of Patchlight.`);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new FormatError(path, `its metadata field ${field} is not JSON.`);
  }
}

export const checkpointNames = {
  state: 'last.state.safetensors',
  best: 'best.safetensors',
  final: 'final.safetensors',
  finalEma: 'final.ema.safetensors',
  epoch: (epoch: number) => `epoch_${String(epoch).padStart(4, '0')}.safetensors`,
};

/** A run directory's file of weights, the best, else the final ones, or the file itself when `path` is one. */
export function findWeights(path: string): string {
  if (!existsSync(path)) throw new ConfigError(`${path} does not exist.`);
  if (!statSync(path).isDirectory()) return path;
  const names = [checkpointNames.best, checkpointNames.final];
  const found = names.map((name) => join(path, 'checkpoints', name)).find((file) => existsSync(file));
  if (!found) throw new ConfigError(`${path} holds no checkpoints/${names.join(' or ')}.`);
  return found;
}
