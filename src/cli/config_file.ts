/** Reads the settings file of --config, which may also be the config.json of a run. */
import { FormatError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import { readJson } from '../io/read.js';

/**
 * The settings in the file at `path`, not yet checked: `resolveSettings` checks names and ranges. The config.json of a run
 * has them in its field `settings`. Throws a ConfigError or FormatError that names the file.
 */
export function readConfig(path: string): Record<string, unknown> {
  const value = readJson(path);
  if (!isObject(value)) throw new FormatError(path, 'the file must hold one JSON object of settings.');
  const settings = 'settings' in value ? value.settings : value;
  if (!isObject(settings)) throw new FormatError(path, 'the field settings must be a JSON object.');
  return settings;
}
