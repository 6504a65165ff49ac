/** Command lines by yargs, made from the table of settings; spellings with underscores are accepted. */
import yargs, { type Options } from 'yargs';
import { kebab, type SettingName, type Settings, settingNames, settingsTable } from '../recipe/settings.js';
import { UsageError } from './main.js';

/** `--batch_size=64` as `--batch-size=64`. */
const dashed = (argument: string): string =>
  argument.replace(/^--[a-z][\w-]*/i, (name) => name.replaceAll('_', '-'));

/** An option that is given twice means the last one, unless it is an array. */
const lastGiven = (value: unknown): unknown => (Array.isArray(value) ? value.at(-1) : value);

/** Throws where yargs would guess: it takes `--json=maybe` for false, `--max-steps=` for 0 and `--no-preset` for no preset. */
function refuseOddValues(
  args: readonly string[],
  options: Record<string, Options>,
  negatable: readonly string[],
): void {
  const typeOf = (flag: string): Options['type'] =>
    Object.entries(options).find(([name, { alias }]) => name === flag || [alias].flat().includes(flag))?.[1]
      .type;
  for (const [i, arg] of args.entries()) {
    const [, no = '', name = '', joined] = /^--(no-)?([\w-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    const type = typeOf(name);
    if (type === 'boolean' && joined !== undefined && joined !== 'true' && joined !== 'false')
      throw new UsageError(`--${name} is true or false, not ${JSON.stringify(joined)}.`);
    if (no && type !== undefined && type !== 'boolean' && !negatable.includes(name))
      throw new UsageError(
        `--no-${name} is not a flag: --${name} takes a ${type === 'number' ? 'number' : 'value'}.`,
      );
    if (type !== 'number') continue;
    const value = joined ?? args[i + 1];
    // Where another flag follows, yargs says that the number is missing.
    if (value === undefined || (joined === undefined && value.startsWith('--'))) continue;
    if (value.trim() === '' || Number.isNaN(Number(value)))
      throw new UsageError(`--${name} must be a number, not ${JSON.stringify(value)}.`);
  }
}

/** Throws where a text is empty, as a variable that was not set leaves it: it must not mean that the flag is not there. */
function refuseEmpty(parsed: Readonly<Record<string, unknown>>): true {
  const empty = Object.keys(parsed).find((name) => [parsed[name]].flat().includes(''));
  if (empty === '_') throw new UsageError('an argument is empty');
  if (empty !== undefined) throw new UsageError(`--${empty} is empty: give it a value, or leave it out`);
  return true;
}

/** `--adapter`, the same for every command. */
export const adapterOption = {
  type: 'string',
  requiresArg: true,
  describe: 'number of an adapter in train.js --list-adapters, or a part of its name [0, the best]',
} as const satisfies Options;

/**
 * A command line of these options and, unless `demandCommand` is called again, of no words beside them. Flags with a value
 * have no `--no-` form, except `negatable` ones, which it makes false.
 */
export function commandLine(
  usage: string,
  options: Record<string, Options>,
  negatable: readonly string[] = [],
) {
  const once = Object.entries(options).map(([name, option]): [string, Options] => [
    name,
    {
      ...option,
      ...(option.array ? {} : { coerce: lastGiven }),
      ...(option.type === 'number' ? { requiresArg: true } : {}),
    },
  ]);
  const args = process.argv.slice(2).map(dashed);
  refuseOddValues(args, options, negatable);
  return yargs(args)
    .usage(usage)
    .version(__VERSION__)
    .options(Object.fromEntries(once))
    .parserConfiguration({
      'camel-case-expansion': false,
      'strip-aliased': true,
      'greedy-arrays': false,
      'parse-positional-numbers': false,
    })
    .strictOptions()
    .demandCommand(0, 0)
    .check(refuseEmpty)
    .wrap(Math.min(110, process.stdout.columns ?? 110))
    .fail((message, error) => {
      throw new UsageError(
        `${(message || error.message).trim().replace(/\s*\n\s*/g, ' ')}. --help lists what there is.`,
      );
    });
}

/** The options of all settings; their defaults are in the text alone, so that what was typed can be told from them. */
export function settingOptions(): Record<string, Options> {
  return Object.fromEntries(
    settingNames.map((name) => {
      const {
        default: value,
        about,
        choices,
        alias,
        group,
      } = settingsTable[name] as {
        default: string | number | boolean;
        about: string;
        choices?: string[];
        alias?: string[];
        group: string;
      };
      const option: Options = {
        type: typeof value as 'string' | 'number' | 'boolean',
        describe: `${about} [${value === '' ? 'empty' : value}]`,
        group: `${group}:`,
        requiresArg: typeof value !== 'boolean',
        ...(choices ? { choices } : {}),
        ...(alias ? { alias } : {}),
      };
      return [kebab(name), option];
    }),
  );
}

/** The settings that were typed. */
export function typedSettings(
  parsed: Readonly<Record<string, unknown>>,
): Partial<Record<SettingName, unknown>> {
  const typed = settingNames.filter((name) => parsed[kebab(name)] !== undefined);
  return Object.fromEntries(typed.map((name) => [name, parsed[kebab(name)]]));
}

/** The command line that a run of exactly these settings has: every one is named, so that no default matters. */
export function settingFlags(settings: Settings): string[] {
  // What is empty cannot be typed, and is the default where it may be at all.
  const named = settingNames.filter((name) => settings[name] !== '');
  return named.map((name) => `--${kebab(name)}=${settings[name]}`);
}
