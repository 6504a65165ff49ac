/** Rows that describe settings: default, range and help text. Flags, config files and defaults are all made from them. */
import { ConfigError } from './errors.js';

/** The types of settings. */
export type SettingValue = string | number | boolean;

/** Sections of `--help`, in the order that it shows them. */
export const groups = ['Model', 'Data', 'Optimisation', 'Regularisation', 'Run'] as const;
export type Group = (typeof groups)[number];

/** One setting: a flag of the command line, a field of config.json and of `Settings`. */
export interface Row<T extends SettingValue = SettingValue> {
  readonly group: Group;
  readonly default: T;
  /** The help text: a noun phrase, its unit, and what 0 means. */
  readonly about: string;
  readonly choices?: readonly T[];
  /** Other names of the flag. */
  readonly alias?: readonly string[];
  /** The lowest value. */
  readonly min?: number;
  /** Every value must be below this one. */
  readonly below?: number;
  /** The highest value. */
  readonly most?: number;
  readonly whole?: true;
  /** A value outside of the range that is allowed too. */
  readonly or?: number;
}

/** Settings by name, in camelCase. */
export type Rows = Readonly<Record<string, Row>>;

type Widen<T> = T extends boolean ? boolean : T extends number ? number : T;

/** The values that rows describe: choices as a union, everything else by its type. */
export type SettingsOf<R extends Rows> = {
  -readonly [K in keyof R]: R[K] extends { choices: readonly (infer C)[] } ? C : Widen<R[K]['default']>;
};

type More<T extends SettingValue> = Partial<Omit<Row<T>, 'group' | 'default' | 'about' | 'choices'>>;

/** A number from 0, unless `more` says another range. */
export const number = (group: Group, value: number, about: string, more: More<number> = {}) =>
  ({ group, default: value, about, min: 0, ...more }) satisfies Row<number>;

/** A whole number from 0. */
export const count = (group: Group, value: number, about: string, more: More<number> = {}) =>
  number(group, value, about, { whole: true, ...more });

/** One of several words. */
export const choice = <const T extends string>(
  group: Group,
  choices: readonly T[],
  value: T,
  about: string,
) => ({ group, default: value as T, about, choices }) satisfies Row<T>;

/** Any text. */
export const text = (group: Group, value: string, about: string) =>
  ({ group, default: value, about }) satisfies Row<string>;

/** True or false. */
export const flag = (group: Group, value: boolean, about: string) =>
  ({ group, default: value, about }) satisfies Row<boolean>;

/** What a row says of its values. */
export type Range = Omit<Row, 'group' | 'about'>;

/** `value`, if the row allows it. Throws a ConfigError that calls the setting `label`. */
export function checked(row: Range, label: string, value: unknown): SettingValue {
  const { default: fallback, choices } = row;
  const shown = typeof value === 'number' ? value : JSON.stringify(value); // JSON has null for Infinity
  const fail = (expected: string): never => {
    throw new ConfigError(`${label} must be ${expected}, not ${shown}.`);
  };
  if (typeof value !== typeof fallback) return fail(`a ${typeof fallback}`);
  if (choices && !choices.includes(value as SettingValue)) return fail(`one of ${choices.join(', ')}`);
  if (typeof value === 'number') checkNumber(row, value, fail);
  return value as SettingValue;
}

function checkNumber(
  { min, below, most, whole, or }: Range,
  value: number,
  fail: (expected: string) => never,
) {
  if (value === or) return;
  const also = or === undefined ? '' : `, or ${or}`;
  if (!Number.isFinite(value)) fail('a finite number');
  if (whole && !Number.isInteger(value)) fail('a whole number');
  if (min !== undefined && value < min) fail(`at least ${min}${also}`);
  if (most !== undefined && value > most) fail(`at most ${most}${also}`);
  if (below !== undefined && value >= below) fail(`below ${below}${also}`);
}

/** The defaults of `rows`, with the values of each layer over those of the layer before; undefined leaves a value as it is. */
export function settle<R extends Rows>(
  rows: R,
  layers: readonly Readonly<Record<string, unknown>>[],
  labelOf: (name: string) => string,
): SettingsOf<R> {
  const values: Record<string, SettingValue> = {};
  for (const [name, row] of Object.entries(rows)) values[name] = row.default;
  for (const layer of layers)
    for (const [name, value] of Object.entries(layer)) {
      const row = Object.hasOwn(rows, name) ? rows[name] : undefined;
      if (row && value !== undefined) values[name] = checked(row, labelOf(name), value);
    }
  return values as SettingsOf<R>;
}

/** `layerNormEps` as `layer-norm-eps`: the name of the flag. */
export const kebab = (name: string): string =>
  name.replace(/[A-Z0-9]+/g, (part) => (/[A-Z]/.test(part) ? `-${part.toLowerCase()}` : part));
