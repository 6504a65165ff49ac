/** Settings as text: their names in any spelling, and their values. Grids of sweeps and phases of runs are written so. */
import { ConfigError } from '../core/errors.js';
import { kebab, type SettingName, settingNames, settingsTable } from './settings.js';

/** A setting's name in snake_case. */
export const snake = (name: string): string => kebab(name).replaceAll('-', '_');

/** The setting with this name (patch_size, patch-size or patchSize) or alias; null if there is none. */
function settingSpelled(text: string): SettingName | null {
  const spelling = kebab(text).replaceAll('_', '-');
  const named = (name: SettingName) => {
    const { alias = [] } = settingsTable[name] as { alias?: readonly string[] };
    return kebab(name) === spelling || alias.includes(spelling);
  };
  return settingNames.find(named) ?? null;
}

/** The setting called `text`. Throws a ConfigError that begins with `where` if there is none. */
export function settingOf(text: string, where: string): SettingName {
  const name = settingSpelled(text);
  if (!name)
    throw new ConfigError(
      `${where}: there is no setting called ${text}; --help of the command that trains lists them.`,
    );
  return name;
}

/** The value of a setting. Throws a ConfigError that begins with `where` for a value of another type. */
export function parseValue(text: string, name: SettingName, where: string): unknown {
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
