/** Settings from a file that a person wrote, or from a run's own config.json. */
import { FormatError } from '../core/errors.js';
import { isObject } from '../io/json.js';
import { readJson } from '../io/read.js';

/**
 * The settings in the file at `path`, unchecked: `resolveSettings` knows their names and ranges. A run's own config.json
 * has them one level down, under `settings`. Throws a ConfigError or FormatError that names the file.
 */
export function readConfig(path: string): Record<string, unknown> {
  const value = readJson(path);
  if (!isObject(value)) throw new FormatError(path, 'the file must hold one JSON object of settings.');
  const settings = 'settings' in value ? value.settings : value;
  if (!isObject(settings)) throw new FormatError(path, 'the field settings must be a JSON object.');
  return settings;
}
