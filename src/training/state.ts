/**
 * The state of a run in memory, for an exact resume without files: weights, the optimizer's moments, EMA and counters as the bytes
 * of one safetensors file. Its tensors have the names of the state files that src/runs writes.
 */
import { FormatError } from '../core/errors.js';
import {
  asFloat32,
  decodeSafetensors,
  encodeSafetensors,
  fromFloat32,
  type TensorData,
} from '../io/safetensors.js';
import type { Part } from '../tensor/arena.js';
import { snapshotOf } from './fit.js';
import type { Progress, WeightsKind } from './progress.js';
import type { Training } from './setup.js';
import type { Snapshot } from './sink.js';
import { asTexts, type Metadata, stateParts } from './state_format.js';

async function encoded(
  { model }: Snapshot,
  parts: Readonly<Record<string, Part>>,
  metadata: Metadata,
): Promise<Uint8Array<ArrayBuffer>> {
  const tensors = new Map<string, TensorData>();
  for (const [prefix, { layout, tensor }] of Object.entries(parts)) {
    const read = await layout.read(tensor);
    for (const { name, shape } of model.parameters()) {
      const values = read.get(name);
      if (values) tensors.set(prefix + name, fromFloat32(shape, values));
    }
  }
  return encodeSafetensors(tensors, { format: 'pt', ...asTexts(metadata) });
}

/**
 * The weights of a run, or their EMA, as a safetensors file with timm's names. `metadata` goes into the file's header. Throws a
 * FormatError if the run has no EMA.
 */
export function encodeWeights(
  snapshot: Snapshot,
  metadata: Metadata = {},
  kind: WeightsKind = 'raw',
): Promise<Uint8Array<ArrayBuffer>> {
  const part = snapshot.weights(kind);
  if (!part) throw new FormatError('weights', 'this run has no EMA.');
  return encoded(snapshot, { '': part }, { ...metadata, weights: kind });
}

/** Everything that an exact resume of a run needs, as a safetensors file. A sink's `state` gets the snapshot. */
export async function encodeState(
  snapshot: Snapshot,
  metadata: Metadata = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const scale = await snapshot.lossScale();
  return encoded(snapshot, stateParts(snapshot.state), {
    ...metadata,
    progress: snapshot.progress,
    ...(scale && { loss_scale: scale }),
  });
}

/** The counters in the bytes of a state. Throws a FormatError for bytes that are damaged or no state. */
export function progressIn(bytes: Uint8Array): Progress {
  const { progress } = decodeSafetensors(NAME, bytes).metadata;
  if (progress === undefined)
    throw new FormatError(NAME, 'it has no progress, so it is not the state of a run.');
  return JSON.parse(progress) as Progress;
}

const NAME = 'the saved state';

/**
 * Puts a state onto the device, into a run that was set up with the settings, data and phase of the saved one. Returns its counters,
 * for `fit`. Throws a FormatError for a damaged state, or one of another model.
 */
export function restoreState(training: Training, bytes: Uint8Array): Progress {
  const progress = progressIn(bytes);
  const { tensors, metadata } = decodeSafetensors(NAME, bytes);
  for (const [prefix, { layout, tensor }] of Object.entries(stateParts(snapshotOf(training, progress).state)))
    layout.write(tensor, ({ name, size }) => {
      const found = tensors.get(prefix + name);
      const values = found && asFloat32(found);
      if (values?.length !== size) throw new FormatError(NAME, `${prefix}${name} does not fit this model.`);
      return values;
    });
  if (metadata.loss_scale) training.lossScale?.restore(JSON.parse(metadata.loss_scale) as number[]);
  return progress;
}
