/**
 * Checkpoints as safetensors with timm's names. A weights file holds the model alone; a state file holds all that an
 * exact continuation needs: weights, moments, average, and the counters in its metadata.
 */
import { join } from 'node:path';
import { ConfigError, FormatError } from '../core/errors.js';
import { formatShape, sameShape } from '../core/shape.js';
import type { FileContent } from '../io/atomic.js';
import { statOf } from '../io/read.js';
import { asFloat32, bytesOf, type TensorInfo } from '../io/safetensors.js';
import {
  type SafetensorsFile,
  safetensorsContent,
  type TensorList,
  type TensorPiece,
  withSafetensors,
} from '../io/safetensors_file.js';
import type { Model } from '../models/model.js';
import type { Arena, Layout, Part } from '../tensor/arena.js';
import type { Parameter } from '../tensor/parameter.js';
import type { Snapshot } from '../training/sink.js';

/** Prefixes of tensor names in a state file. */
const PREFIXES = { weights: '', m: 'adamw.m.', v: 'adamw.v.', momentum: 'muon.m.', ema: 'ema.' } as const;
const STATE_PREFIXES = Object.values(PREFIXES).filter((prefix) => prefix !== '');

type Metadata = Readonly<Record<string, unknown>>;

/** Tensors by the prefix of their names in the file: '' for the model's own weights. */
export type Parts = Readonly<Record<string, Part>>;

/** The tensors of a snapshot under the prefixes that a state file has for them. */
export const stateParts = (state: Snapshot['state']): Parts =>
  Object.fromEntries(
    Object.entries(state).map(([name, part]) => [PREFIXES[name as keyof typeof PREFIXES], part]),
  );

/**
 * The given parts, each with its parameters in the given order, as a file. The values are read from the device while the file
 * is written, so nothing may change them until it is.
 */
export function checkpointContent(
  order: readonly Parameter[],
  parts: Parts,
  metadata: Metadata,
): FileContent {
  const tensors = new Map<string, TensorInfo>();
  for (const [prefix, { layout }] of Object.entries(parts)) {
    const held = new Set(layout.slots.map(({ parameter }) => parameter));
    for (const parameter of order)
      if (held.has(parameter)) tensors.set(prefix + parameter.name, { dtype: 'F32', shape: parameter.shape });
  }
  const texts = Object.entries(metadata).map(([key, value]) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
  ]);
  async function* pieces(): AsyncGenerator<TensorPiece> {
    for (const [prefix, { layout, tensor }] of Object.entries(parts))
      for await (const { parameter, values } of layout.pieces(tensor))
        yield { name: prefix + parameter.name, bytes: bytesOf(values) };
  }
  return safetensorsContent(tensors, { format: 'pt', ...Object.fromEntries(texts) }, pieces);
}

/** What the file says of itself and its tensors. Every checksum is verified. */
export function readCheckpoint(path: string): TensorList {
  return withSafetensors(path, (file) => {
    file.verify();
    return { tensors: file.tensors, metadata: file.metadata };
  });
}

/** Loads parts by strict names and shapes; the error lists what does not fit. */
export function loadParts(path: string, parts: Parts): void {
  withSafetensors(path, (file) => {
    for (const [prefix, { layout, tensor }] of Object.entries(parts)) {
      refuseMisfits(path, misfits(file, layout, prefix));
      layout.write(tensor, ({ name }) => floats(file, prefix + name));
    }
  });
}

/**
 * Loads the weights that a run starts from into an arena that has its first values. The classifier keeps its first values where the
 * file has none, or one for another number of classes, as with timm's create_model(pretrained=True, num_classes=N). The sentence
 * that is returned says so; null where all is loaded. Throws a FormatError for a file that does not fit otherwise.
 */
export function loadInit(path: string, arena: Arena, model: Model): string | null {
  return withSafetensors(path, (file) => {
    file.verify();
    const classifier = model.classifier();
    const note = classifierNote(path, file, classifier);
    const isKept = (name: string): boolean => note !== null && classifier.some((own) => own.name === name);
    refuseMisfits(path, misfits(file, arena, '', isKept));
    arena.write(arena.values, ({ name }) => (isKept(name) ? null : floats(file, name)));
    return note;
  });
}

/** Why the classifier starts anew; null where it does not. Its first axis counts the classes. */
function classifierNote(path: string, { tensors }: TensorList, own: readonly Parameter[]): string | null {
  const found = own.map(({ name }) => tensors.get(name)?.shape);
  const classes = own[0]?.shape[0];
  if (found.every((shape) => shape === undefined))
    return `${path} has no head: the one for the ${classes} classes of this data set starts anew.`;
  const others = found[0]?.[0];
  const fitsOtherwise = own.every(({ shape }, i) => {
    const its = found[i];
    return its && others !== undefined && sameShape(its, [others, ...shape.slice(1)]);
  });
  if (!fitsOtherwise || others === classes) return null;
  return `The head of ${path} is for ${others} classes and this data set has ${classes}: it starts anew.`;
}

/** A sentence's part for each tensor that is missing, of another shape, or not of this model; `isKept` may be anything. */
function misfits(
  { tensors }: TensorList,
  layout: Layout,
  prefix = '',
  isKept: (name: string) => boolean = () => false,
): string[] {
  const problems: string[] = [];
  for (const { parameter } of layout.slots) {
    if (isKept(parameter.name)) continue;
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
  return problems;
}

function refuseMisfits(path: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > 4 ? `; and ${problems.length - 4} more` : '';
  throw new FormatError(path, `does not fit this model: ${problems.slice(0, 4).join('; ')}${more}.`);
}

/** A tensor's values, piece by piece. */
function* floats(file: SafetensorsFile, name: string): Generator<Float32Array> {
  const { dtype } = file.tensors.get(name) as TensorInfo;
  for (const bytes of file.pieces(name)) yield asFloat32({ dtype, bytes });
}

/** JSON from a checkpoint's metadata; a FormatError names the field that is missing or damaged. */
export function metadataField<T>(path: string, { metadata }: Pick<TensorList, 'metadata'>, field: string): T {
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
  const stat = statOf(path);
  if (!stat) throw new ConfigError(`${path} does not exist.`);
  if (!stat.isDirectory()) return path;
  const names = [checkpointNames.best, checkpointNames.final];
  const found = names.map((name) => join(path, 'checkpoints', name)).find(statOf);
  if (!found) throw new ConfigError(`${path} holds no checkpoints/${names.join(' or ')}.`);
  return found;
}
