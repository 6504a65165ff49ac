/** The settings that a continued run may change, and the notes that it then gives. */
import { ConfigError } from '../core/errors.js';
import type { TensorList } from '../io/safetensors_file.js';
import { resolveSettings, rowsOf, type SettingName, type Settings } from '../recipe/settings.js';
import { metadataField } from './checkpoint.js';
import type { Fingerprint } from './fingerprint.js';

/** How long a run goes. */
const LENGTH: readonly SettingName[] = ['epochs', 'maxSteps', 'scheduleSteps', 'patience'];
/** Logs, saves and places: no step computes anything else for them. */
const FREE_TO_CHANGE = new Set<SettingName>([
  ...LENGTH,
  'logInterval',
  'evalInterval',
  'checkpointInterval',
  'dataDir',
]);

/** Throws a ConfigError that names the settings by which `now` would compute something else than `before`. */
export function checkContinuation(before: Settings, now: Settings): void {
  const names = Object.keys(rowsOf(before.model)) as SettingName[];
  const changed = names.filter((name) => now[name] !== before[name] && !FREE_TO_CHANGE.has(name));
  if (changed.length > 0)
    throw new ConfigError(`A continued run must keep its settings: ${differences(changed, before, now)}.`);
}

export const equallyLong = (a: Settings, b: Settings): boolean => LENGTH.every((name) => a[name] === b[name]);

type Environment = Readonly<Record<string, unknown>>;

/** With any of these changed, the rest of a run may round otherwise. */
const PLACE = ['version', 'adapter', 'driver'] as const;

/**
 * Compares a saved state with the run that is to continue it: a sentence where the place has changed, and one where the
 * length has; both are allowed. Other training images are a ConfigError.
 */
export function describeContinuation(
  path: string,
  state: TensorList,
  now: { readonly settings: Settings; readonly environment: Environment; readonly data: Fingerprint },
): string[] {
  // States saved by 0.1.0 do not tell their images.
  if ('data' in state.metadata) checkData(path, metadataField<Fingerprint>(path, state, 'data'), now.data);
  const place = metadataField<Environment>(path, state, 'environment');
  const settings = resolveSettings(metadataField<Settings>(path, state, 'settings'));
  const moved = PLACE.filter((name) => place[name] !== now.environment[name]);
  const resized = LENGTH.filter((name) => settings[name] !== now.settings[name]);
  const notes: string[] = [];
  if (moved.length > 0)
    notes.push(
      `The run goes on elsewhere, and may round otherwise: ${differences(moved, place, now.environment)}.`,
    );
  if (resized.length > 0)
    notes.push(
      `The run has a new length, and the learning rate its schedule: ${differences(resized, settings, now.settings)}.`,
    );
  return notes;
}

function checkData(path: string, before: Fingerprint, now: Fingerprint): void {
  const said = ({ dataset, images, crc32c }: Fingerprint) =>
    `${dataset}, ${images} images, checksum ${crc32c}`;
  if (said(before) !== said(now))
    throw new ConfigError(
      `A continued run must see the images it began with: those of ${path} are ${said(before)}; now ${said(now)}.`,
    );
}

function differences<K extends string>(
  names: readonly K[],
  before: Readonly<Partial<Record<K, unknown>>>,
  now: Readonly<Partial<Record<K, unknown>>>,
): string {
  return names.map((name) => `${name} was ${before[name]}, now ${now[name]}`).join('; ');
}
