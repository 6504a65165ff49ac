/** The configurations of a sweep: what each changes, read from grids and lists, with a name that a folder can have. */
import { ConfigError } from '../core/errors.js';
import { kebab, type SettingName, type Settings, settingNames, settingsTable } from '../recipe/settings.js';

export interface Configuration {
  /** As `patch_size=4,depth=3`. */
  readonly name: string;
  /** Settings over those that all configurations share. */
  readonly changes: Partial<Settings>;
}

/** One setting and the values that it takes. */
export interface Axis {
  readonly name: SettingName;
  readonly values: readonly unknown[];
}

export const snake = (name: string): string => kebab(name).replaceAll('-', '_');

/** The setting that is spelled patch_size, patch-size, patchSize, or by another name of its flag; null for none. */
function settingSpelled(text: string): SettingName | null {
  const spelling = kebab(text).replaceAll('_', '-');
  const named = (name: SettingName) => {
    const { alias = [] } = settingsTable[name] as { alias?: readonly string[] };
    return kebab(name) === spelling || alias.includes(spelling);
  };
  return settingNames.find(named) ?? null;
}

function settingOf(text: string, where: string): SettingName {
  const name = settingSpelled(text);
  if (!name)
    throw new ConfigError(
      `${where}: there is no setting called ${text}; node dist/train.js --help lists them.`,
    );
  return name;
}

/** `patch_size=2,4,8`, its values of the setting's own type. What they may be is checked with the whole configuration. */
export function parseAxis(text: string): Axis {
  const where = `--grid ${text}`;
  const [, spelled, list] = /^([\w-]+)=(.*)$/.exec(text) ?? [];
  if (!spelled || !list)
    throw new ConfigError(`${where} must be a setting and its values, as patch_size=2,4,8.`);
  const name = settingOf(spelled, where);
  return { name, values: list.split(',').map((value) => parseValue(value, name, where)) };
}

function parseValue(text: string, name: SettingName, where: string): unknown {
  const kind = typeof settingsTable[name].default;
  const refuse = () => new ConfigError(`${where}: ${snake(name)} is a ${kind}, not "${text}".`);
  if (kind === 'string') return text;
  if (kind === 'boolean') {
    if (text !== 'true' && text !== 'false') throw refuse();
    return text === 'true';
  }
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw refuse();
  return value;
}

/** More than anybody trains one after another: a slip of the keyboard must not fill the memory. */
const MOST_CONFIGURATIONS = 10_000;

/** Every combination of the axes' values; the last axis changes fastest. */
export function crossProduct(axes: readonly Axis[]): Configuration[] {
  const twice = axes.find(({ name }, i) => axes.findIndex((axis) => axis.name === name) !== i);
  if (twice) throw new ConfigError(`--grid ${snake(twice.name)} is given twice; name all its values in one.`);
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

/** An array of objects of settings, in any of their spellings, each with a `name` where its settings make a poor one. */
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

export function nameBy(changes: Partial<Settings>): Configuration {
  const parts = Object.entries(changes).map(
    ([name, value]) => `${snake(name)}=${String(value).replace(/[^\w.+-]+/g, '_')}`,
  );
  return { name: parts.join(',') || 'base', changes };
}
