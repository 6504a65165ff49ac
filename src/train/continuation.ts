/** What a continued run may change. */
import { ConfigError } from '../core/errors.js';
import { type SettingName, type Settings, settingNames } from './settings.js';

/** How long a run goes. */
const LENGTH: readonly SettingName[] = ['epochs', 'maxSteps', 'patience'];
/** What it says and where it reads; none of it changes what a step computes. */
const FREE_TO_CHANGE = new Set<SettingName>([
  ...LENGTH,
  'logInterval',
  'evalInterval',
  'checkpointInterval',
  'dataDir',
]);

/** Throws a ConfigError that names the settings by which `now` would compute something else than `before`. */
export function checkContinuation(before: Settings, now: Settings): void {
  const changed = settingNames.filter((name) => now[name] !== before[name] && !FREE_TO_CHANGE.has(name));
  if (changed.length > 0)
    throw new ConfigError(
      `A continued run must keep its settings: ${changed.map((name) => `${name} was ${before[name]}, now ${now[name]}`).join('; ')}.`,
    );
}

export const equallyLong = (a: Settings, b: Settings): boolean => LENGTH.every((name) => a[name] === b[name]);
