/**
 * Checkpoints as safetensors files with timm's parameter names. A weights file holds the model alone. A state file holds
 * everything for an exact resume: weights, the optimizer's moments, EMA, and the run's counters in its metadata.
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
import { asTexts, STATE_PREFIXES } from '../training/state_format.js';

const OTHERS = Object.values(STATE_PREFIXES).filter((prefix) => prefix !== '');

type Metadata = Readonly<Record<string, unknown>>;

/** Tensors by the prefix of their names in the file: '' for the model's own weights. */
export type Parts = Readonly<Record<string, Part>>;

/**
 * The content of a safetensors file (f32) with the given parts. In each part the parameters stand in the given order. The
 * values are read from the device while the file is written, so they must not change before that is done.
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
  async function* pieces(): AsyncGenerator<TensorPiece> {
    for (const [prefix, { layout, tensor }] of Object.entries(parts))
      for await (const { parameter, values } of layout.pieces(tensor))
        yield { name: prefix + parameter.name, bytes: bytesOf(values) };
  }
  return safetensorsContent(tensors, { format: 'pt', ...asTexts(metadata) }, pieces);
}

/** The metadata and tensor list of a checkpoint. Verifies every checksum; throws a FormatError for a damaged file. */
export function readCheckpoint(path: string): TensorList {
  return withSafetensors(path, (file) => {
    file.verify();
    return { tensors: file.tensors, metadata: file.metadata };
  });
}

/** Loads parts onto the device. All names and shapes must match: otherwise throws a FormatError that lists the differences. */
export function loadParts(path: string, parts: Parts): void {
  withSafetensors(path, (file) => {
    for (const [prefix, { layout, tensor }] of Object.entries(parts)) {
      refuseMisfits(path, misfits(file, layout, prefix));
      layout.write(tensor, ({ name }) => floats(file, prefix + name));
    }
  });
}

/**
 * Loads the weights of --init into an initialised arena. The classifier keeps its initial values if the file has none, or
 * has one for another number of classes, as in timm's create_model(pretrained=True, num_classes=N); then a note is
 * returned, otherwise null. Throws a FormatError for any other missing, extra or differently shaped tensor.
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

/**
 * A note that says why the classifier is not loaded; null if it is. `own` are its parameters; their first axis is the
 * number of classes.
 */
function classifierNote(path: string, { tensors }: TensorList, own: readonly Parameter[]): string | null {
  const found = own.map(({ name }) => tensors.get(name)?.shape);
  const classes = own[0]?.shape[0];
  if (found.every((shape) => shape === undefined))
    return `${path} has no classifier. The classifier for the ${classes} classes of this data set keeps its initial values.`;
  const others = found[0]?.[0];
  const fitsOtherwise = own.every(({ shape }, i) => {
    const its = found[i];
    return its && others !== undefined && sameShape(its, [others, ...shape.slice(1)]);
  });
  if (!fitsOtherwise || others === classes) return null;
  return `The classifier of ${path} has ${others} classes and this data set ${classes}. The new classifier keeps its initial values.`;
}

/** A phrase for each tensor that is missing, has another shape, or is not in this model. `isKept` parameters are skipped. */
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
    if (prefix === '' && !names.has(name) && !OTHERS.some((other) => name.startsWith(other)))
      problems.push(`${name} is not a part of this model`);
  return problems;
}

function refuseMisfits(path: string, problems: readonly string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > 4 ? `; and ${problems.length - 4} more` : '';
  throw new FormatError(path, `does not fit this model: ${problems.slice(0, 4).join('; ')}${more}.`);
}

/** A tensor's values as float32, piece by piece. */
function* floats(file: SafetensorsFile, name: string): Generator<Float32Array> {
  const { dtype } = file.tensors.get(name) as TensorInfo;
  for (const bytes of file.pieces(name)) yield asFloat32({ dtype, bytes });
}

/** A field of a checkpoint's metadata, parsed as JSON. Throws a FormatError if it is missing or damaged. */
export function metadataField<T>(path: string, { metadata }: Pick<TensorList, 'metadata'>, field: string): T {
  const text = metadata[field];
  if (text === undefined)
    throw new FormatError(path, `its metadata has no ${field}, so it is not a Patchlight checkpoint.`);
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new FormatError(path, `its metadata field ${field} is not JSON.`);
  }
}

/** The file names in the folder `checkpoints` of a run. */
export const checkpointNames = {
  state: 'last.state.safetensors',
  best: 'best.safetensors',
  final: 'final.safetensors',
  finalEma: 'final.ema.safetensors',
  epoch: (epoch: number) => `epoch_${String(epoch).padStart(4, '0')}.safetensors`,
};

/**
 * The weights file of a run directory: the best weights, or the final ones if there are no best. A `path` to a file is
 * returned as it is. Throws a ConfigError if there is none.
 */
export function findWeights(path: string): string {
  const stat = statOf(path);
  if (!stat) throw new ConfigError(`${path} does not exist.`);
  if (!stat.isDirectory()) return path;
  const names = [checkpointNames.best, checkpointNames.final];
  const found = names.map((name) => join(path, 'checkpoints', name)).find(statOf);
  if (!found) throw new ConfigError(`${path} has no checkpoints/${names.join(' or ')}.`);
  return found;
}
