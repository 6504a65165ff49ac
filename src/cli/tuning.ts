/** `node dist/bench.js tune`, the place where its result is kept, and what other commands say about tuning. */
import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Options } from 'yargs';
import type { Effort } from '../bench/measure.js';
import { type TuneRow, tune } from '../bench/tune.js';
import { ConfigError } from '../core/errors.js';
import { table } from '../core/table.js';
import type { AdapterInfo } from '../gpu/device.js';
import type { Gpu } from '../gpu/gpu.js';
import { tuningFolders } from '../gpu/host_node.js';
import { tuningName } from '../gpu/tuning.js';
import { reason, writeFileAtomic } from '../io/atomic.js';
import { commandName, UsageError } from './main.js';
import { exitCode, stopOnSignals } from './signals.js';

export const tuneOptions = {
  seconds: {
    type: 'number',
    requiresArg: true,
    group: 'Tune:',
    describe: 'begin no further measurement after so many seconds; the other knobs keep their values [60]',
  },
  'save-user': {
    type: 'boolean',
    default: false,
    group: 'Tune:',
    describe: "--save into the user's folder, also from a checkout",
  },
} as const satisfies Record<string, Options>;

export interface TuneFlags {
  readonly seconds?: number;
  readonly save: boolean;
  readonly 'save-user': boolean;
}

const SECONDS = 60;
/** Larger values are taken for typing mistakes. */
const MOST_SECONDS = 86_400;

export function checkTuneFlags({ seconds, 'save-user': user }: TuneFlags, tuning: boolean): void {
  if (!tuning && (seconds !== undefined || user))
    throw new UsageError(`--${user ? 'save-user' : 'seconds'} only works with: ${commandName('bench')} tune`);
  if (seconds !== undefined && !(seconds > 0 && seconds <= MOST_SECONDS))
    throw new UsageError(`--seconds must be above 0 and at most ${MOST_SECONDS}, not ${seconds}.`);
}

/** Measures the knobs of this adapter and prints all measurements. Returns the exit code. */
export async function tuneAdapter(
  gpu: Gpu,
  effort: Effort,
  command: string,
  { seconds = SECONDS, save, 'save-user': user }: TuneFlags,
): Promise<number> {
  const folders = await tuningFolders();
  const folder = save || user ? savingFolder(folders, user) : null; // refused before a minute is spent
  const caught = stopOnSignals(() => {});
  const end = performance.now() + 1000 * seconds;
  const rows: TuneRow[] = [];
  await tune(gpu, effort, {
    over: () => caught() !== null || performance.now() > end,
    done: (found) => {
      rows.push(...found);
      for (const { knob, value, ms, chosen } of found)
        if (chosen && ms !== null) console.log(`${knob}: ${value}`); // a sign of life
    },
  });
  const measured = rows.some(({ ms }) => ms !== null);
  console.log(
    `\n${table(
      ['knob', 'value', 'ms', ''],
      rows.map(({ knob, value, ms, chosen }) => [
        knob,
        value,
        ms ?? '',
        ms === null ? 'not measured' : chosen ? 'chosen' : '',
      ]),
    )}`,
  );
  const signal = caught();
  const why = signal ? 'Stopped by a signal' : `The time of --seconds ${seconds} is over`;
  if (rows.some(({ ms }) => ms === null))
    console.log(`\n${why}. Knobs that were not measured keep their values.`);
  if (folder !== null && !measured) console.log('\nNothing was measured, so nothing is saved.');
  else if (folder !== null) console.log(`\n${saveTuning(gpu.info, { ...folders, folder }, command)}`);
  return signal ? exitCode(signal) : 0;
}

interface Folders {
  /** Null if there is none. */
  readonly user: string | null;
  readonly project: string;
}

/** Writes the adapter's file into `folder`. Returns a sentence about it. */
function saveTuning(
  info: AdapterInfo,
  { folder, user }: Folders & { readonly folder: string },
  command: string,
): string {
  const name = `${tuningName(info)}.json`;
  const file = join(folder, name);
  const measured = `${new Date().toISOString().slice(0, 10)}, ${command}`;
  const content = { adapter: info.name, measured, knobs: info.knobs };
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw new ConfigError(`The folder ${folder} cannot be created (${reason(error)}).`);
  }
  writeFileAtomic(file, new TextEncoder().encode(`${JSON.stringify(content, null, 2)}\n`));
  const preferred = user === null ? file : join(user, name);
  return preferred !== file && existsSync(preferred)
    ? `Saved: ${file}. It is not used while ${preferred} exists: remove that file, or save with --save-user.`
    : `Saved: ${file}. The next start on this adapter uses it.`;
}

function canWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The project's folder in a checkout that can be written to; the user's otherwise, or if it is `forced`. */
export function savingFolder({ user, project }: Folders, forced: boolean): string {
  // In a worktree .git is a file.
  const checkout = existsSync(join(project, '../.git'));
  if (!forced && checkout && canWrite(project)) return project;
  if (user) return user;
  throw new ConfigError(
    'There is no folder for the tuning: this user has no home folder. Set XDG_CONFIG_HOME to a folder that can be written to.',
  );
}

/** What a person should know about this adapter's tuning: a file's values that it ignores, or that it has no file. */
export function tuningNotes({ tuning: { file, ignored } }: AdapterInfo, adapter?: string): readonly string[] {
  const chosen = adapter === undefined ? '' : ` --adapter ${JSON.stringify(adapter)}`;
  const untuned = `This adapter was never tuned: ${commandName('bench')} tune --save${chosen} takes about a minute.`;
  return file === null ? [untuned] : ignored;
}
