/** The names and the metadata of saved states and weights. It imports nothing that computes. */
import type { Part } from '../tensor/arena.js';
import type { Progress } from './progress.js';
import type { Training } from './setup.js';
import type { Snapshot } from './sink.js';

/** Prefixes of tensor names in a state, by the parts of a snapshot. */
export const STATE_PREFIXES = {
  weights: '',
  m: 'adamw.m.',
  v: 'adamw.v.',
  momentum: 'muon.m.',
  ema: 'ema.',
} as const;

/** The tensors of a snapshot by their prefixes in a state. */
export const stateParts = (state: Snapshot['state']): Readonly<Record<string, Part>> =>
  Object.fromEntries(
    Object.entries(state).map(([name, part]) => [STATE_PREFIXES[name as keyof typeof STATE_PREFIXES], part]),
  );

export type Metadata = Readonly<Record<string, unknown>>;

/**
 * The metadata of a run's checkpoints: settings, environment (version, adapter), model and images, which `readRun` needs to build
 * the model and to prepare images for it.
 */
export function runMetadata(
  { settings, dataset, model }: Pick<Training, 'settings' | 'dataset' | 'model'>,
  environment: Metadata,
  { step }: Pick<Progress, 'step'>,
): Metadata {
  const { classes, channels, height, width, mean, std } = dataset;
  return {
    ...{ settings, environment, model: model.config, classes },
    images: { channels, height, width, mean, std },
    step,
  };
}

/** The metadata as a safetensors file has it: texts, and the JSON of everything else. */
export const asTexts = (metadata: Metadata): Record<string, string> =>
  Object.fromEntries(
    Object.entries(metadata).map(([key, value]) => [
      key,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  );
