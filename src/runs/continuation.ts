/** The settings that may change when a run is resumed, and the notes about other differences. */
import { ConfigError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import type { TensorList } from '../io/safetensors_file.js';
import { resolveSettings, rowsOf, type SettingName, type Settings } from '../recipe/settings.js';
import { metadataField } from './checkpoint.js';
import type { Fingerprint } from './fingerprint.js';

/** Settings that decide when a run ends. */
const LENGTH: readonly SettingName[] = ['epochs', 'maxSteps', 'maxFlops', 'scheduleSteps', 'patience'];
/** Settings of length, logs, saves, folders and memory. They change no step's result except by the learning rate schedule. */
const FREE_TO_CHANGE = new Set<SettingName>([
  ...LENGTH,
  'logInterval',
  'evalInterval',
  'checkpointInterval',
  'gradCheckpointing',
  'dataDir',
]);

/** Throws a ConfigError that names every changed setting which a resumed run must keep. */
export function checkContinuation(before: Settings, now: Settings): void {
  const names = Object.keys(rowsOf(before.model)) as SettingName[];
  const changed = names.filter((name) => now[name] !== before[name] && !FREE_TO_CHANGE.has(name));
  if (changed.length > 0)
    throw new ConfigError(`A continued run must keep its settings: ${differences(changed, before, now)}.`);
}

/** True if both settings end a run at the same step. */
export const equallyLong = (a: Settings, b: Settings): boolean => LENGTH.every((name) => a[name] === b[name]);

type Environment = Readonly<Record<string, unknown>>;

/** If one of these has changed, the rest of the run may round differently. */
const PLACE = ['version', 'adapter', 'driver'] as const;

/** The knobs that an environment has; those of 0.1.0 have none. */
const knobsOf = ({ knobs }: Environment): Readonly<Record<string, unknown>> => (isObject(knobs) ? knobs : {});

/**
 * Compares a saved state with the run that resumes it. Returns a note if the version, adapter or driver has changed, one
 * if the tuning has, and one if the length has; all are allowed. Throws a ConfigError if the training images have changed.
 */
export function describeContinuation(
  path: string,
  state: TensorList,
  now: { readonly settings: Settings; readonly environment: Environment; readonly data: Fingerprint },
): string[] {
  // States saved by 0.1.0 have no fingerprint of their images.
  if ('data' in state.metadata) checkData(path, metadataField<Fingerprint>(path, state, 'data'), now.data);
  const place = metadataField<Environment>(path, state, 'environment');
  const settings = resolveSettings(metadataField<Settings>(path, state, 'settings'));
  const knobs = { before: knobsOf(place), now: knobsOf(now.environment) };
  const tuned = Object.keys(knobs.now).filter(
    (name) => name in knobs.before && knobs.before[name] !== knobs.now[name],
  );
  const moved = PLACE.filter((name) => place[name] !== now.environment[name]);
  const resized = LENGTH.filter((name) => settings[name] !== now.settings[name]);
  const notes: string[] = [];
  if (moved.length > 0)
    notes.push(
      `The environment has changed, so results may round differently: ${differences(moved, place, now.environment)}.`,
    );
  if (tuned.length > 0)
    notes.push(
      `The tuning of the adapter has changed, so results may round differently: ${differences(tuned, knobs.before, knobs.now)}.`,
    );
  if (resized.length > 0)
    notes.push(
      `The length of the run has changed, and with it the learning rate schedule: ${differences(resized, settings, now.settings)}.`,
    );
  return notes;
}

function checkData(path: string, before: Fingerprint, now: Fingerprint): void {
  const said = ({ dataset, images, crc32c }: Fingerprint) =>
    `${dataset}, ${images} images, checksum ${crc32c}`;
  if (said(before) !== said(now))
    throw new ConfigError(
      `A continued run must train on the same images: ${path} was trained on ${said(before)}; now the data set is ${said(now)}.`,
    );
}

function differences<K extends string>(
  names: readonly K[],
  before: Readonly<Partial<Record<K, unknown>>>,
  now: Readonly<Partial<Record<K, unknown>>>,
): string {
  return names.map((name) => `${name} was ${before[name]}, now ${now[name]}`).join('; ');
}
