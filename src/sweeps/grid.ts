/** The configurations of a sweep, from grids and lists. Each has a name that can be the name of a folder. */
import { ConfigError } from '../core/errors.js';
import type { SettingName, Settings } from '../recipe/settings.js';
import { parseValue, settingOf, snake } from '../recipe/spelled.js';

export interface Configuration {
  /** For example `patch_size=4,depth=3`. */
  readonly name: string;
  /** The settings that differ from the shared ones. */
  readonly changes: Partial<Settings>;
}

/** One setting and the values that it takes. */
export interface Axis {
  readonly name: SettingName;
  readonly values: readonly unknown[];
}

/**
 * Parses `patch_size=2,4,8`. Throws a ConfigError for an unknown setting or a value of another type. Ranges are checked
 * later, with the whole configuration.
 */
export const parseAxis = (text: string): Axis => parseValues(text, `--grid ${text}`);

/** As `parseAxis`; `where` begins the error messages. */
export function parseValues(text: string, where: string): Axis {
  const [, spelled, list] = /^([\w-]+)=(.*)$/.exec(text) ?? [];
  if (!spelled || !list)
    throw new ConfigError(`${where} must be a setting and its values, such as patch_size=2,4,8.`);
  const name = settingOf(spelled, where);
  return { name, values: list.split(',').map((value) => parseValue(value, name, where)) };
}

/** Larger grids are taken for typing mistakes, which must not fill the memory. */
const MOST_CONFIGURATIONS = 10_000;

/** Every combination of the axes' values; the last axis changes fastest. Throws a ConfigError for an axis that comes twice. */
export function crossProduct(axes: readonly Axis[]): Configuration[] {
  const twice = axes.find(({ name }, i) => axes.findIndex((axis) => axis.name === name) !== i);
  if (twice)
    throw new ConfigError(`--grid ${snake(twice.name)} is given twice. Put all its values into one --grid.`);
  const count = axes.reduce((product, { values }) => product * values.length, 1);
  if (count > MOST_CONFIGURATIONS)
    throw new ConfigError(
      `the grids make ${count} configurations; a sweep has at most ${MOST_CONFIGURATIONS}. Name fewer values.`,
    );
  const all = axes.reduce<Record<string, unknown>[]>(
    (found, { name, values }) =>
      found.flatMap((changes) => values.map((value) => ({ ...changes, [name]: value }))),
    [{}],
  );
  return all.map(nameBy);
}

/**
 * Reads the JSON of a --list file: an array of objects of settings, spelled as for `parseAxis`, each with an optional
 * `name`. Throws a ConfigError that names the file and the configuration.
 */
export function parseList(file: string, list: unknown): Configuration[] {
  if (!Array.isArray(list) || list.length === 0)
    throw new ConfigError(`${file} must hold a JSON array of objects, each the settings of a configuration.`);
  return list.map((entry: unknown, i) => {
    const where = `${file}, configuration ${i + 1}`;
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry))
      throw new ConfigError(`${where} must be an object of settings.`);
    const { name, ...rest } = entry as Record<string, unknown>;
    const spelled = Object.entries(rest).map(([key, value]) => [settingOf(key, where), value]);
    const configuration = nameBy(Object.fromEntries(spelled));
    if (name === undefined) return configuration;
    if (typeof name !== 'string' || !/^[\w=+-][\w=,.+-]*$/.test(name))
      throw new ConfigError(
        `${where}: its name must be letters, digits and _ = , . + -, not ${JSON.stringify(name)}.`,
      );
    return { ...configuration, name };
  });
}

/** A configuration named after its changes: `patch_size=4,depth=3`, or `base` if there are none. */
export function nameBy(changes: Partial<Settings>): Configuration {
  const parts = Object.entries(changes).map(
    ([name, value]) => `${snake(name)}=${String(value).replace(/[^\w.+-]+/g, '_')}`,
  );
  return { name: parts.join(',') || 'base', changes };
}
