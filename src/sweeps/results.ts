/** A small JSON file for each finished run: what was trained, where, and how well. It can be kept when the run is deleted. */
import { mkdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ConfigError } from '../core/errors.js';
import { describeDataset } from '../data/named.js';
import { reason, writeFileAtomic } from '../io/atomic.js';
import { isObject } from '../io/json.js';
import { readJson, statOf } from '../io/read.js';
import { kebab, resolveSettings, type Settings, settingNames, settingsTable } from '../recipe/settings.js';
import { checkContinuation } from '../runs/continuation.js';
import { readHistory } from '../runs/history.js';
import type { EpochEntry } from '../training/progress.js';
import type { PlannedRun } from './plan.js';
import { figuresOf } from './table.js';

/** The commit of the checkout that trains, and whether its tracked files have changes. */
export interface Commit {
  readonly commit: string;
  readonly dirty: boolean;
}

type Changed = Readonly<Record<string, unknown>>;

/**
 * The settings that differ from the defaults, under their names in config.json, so that --config reads the file. They name
 * no folder of this machine.
 */
export function changedSettings(settings: Settings): Changed {
  const { dataDir: _, ...rest } = settings;
  const portable: Changed = {
    ...rest,
    dataset: describeDataset(settings.dataset) ? settings.dataset : basename(settings.dataset),
  };
  const names = settingNames.filter(
    (name) => name in portable && portable[name] !== settingsTable[name].default,
  );
  return Object.fromEntries(names.map((name) => [name, portable[name]]));
}

/** The command line that trains a run with these settings and defaults for all others. */
export function trainCommand(changed: Changed, init: string | null): string {
  const flags = Object.entries(changed).map(([name, value]) => {
    if (typeof value === 'boolean') return `--${value ? '' : 'no-'}${kebab(name)}`;
    return `--${kebab(name)} ${quoted(`${value}`)}`;
  });
  return ['node dist/train.js', ...flags, ...(init ? [`--init ${quoted(init)}`] : [])].join(' ');
}

/** As a word of a shell. */
const quoted = (text: string): string =>
  /^[\w.,=+/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

const rounded = (value: number | null | undefined, digits: number): number | null =>
  value == null ? null : Number(value.toPrecision(digits));

/** FLOPs since the start, accuracy of the weights and of their EMA, and training loss. Six digits are exact for 10,000 images. */
const pointOf = ({ flops, val_accuracy, ema_val_accuracy, train_loss }: EpochEntry) => [
  rounded(flops, 7),
  rounded(val_accuracy, 6),
  rounded(ema_val_accuracy, 6),
  rounded(train_loss, 5),
];

/** One line for each field: readable, and small enough to be committed. */
const fieldPerLine = (value: object): string =>
  `{\n${Object.entries(value)
    .map(([key, field]) => ` ${JSON.stringify(key)}: ${JSON.stringify(field)}`)
    .join(',\n')}\n}\n`;

interface Origin {
  /** The checkout that the sweep runs from; null if it is none. */
  readonly commit: Commit | null;
  /** The file of initial weights; null for drawn ones. */
  readonly init: string | null;
}

/** The results of a sweep: a file for each run in the folder `label` of `folder`. */
export class Results {
  constructor(
    private readonly folder: string,
    private readonly label: string,
    private readonly origin: Origin,
  ) {}

  pathOf({ name }: PlannedRun): string {
    return join(this.folder, this.label, `${name}.json`);
  }

  /** Throws a ConfigError if the folder is a file, or if it has the result of another run under the name of one of these. */
  demandOwn(runs: readonly PlannedRun[]): void {
    if (statOf(this.folder)?.isDirectory() === false)
      throw new ConfigError(`--results ${this.folder} is a file. Name a folder.`);
    for (const run of runs) {
      const before = this.settingsOf(run);
      if (before === null) continue;
      try {
        checkContinuation(resolveSettings(before), resolveSettings(changedSettings(run.settings)));
      } catch {
        throw new ConfigError(
          `${this.pathOf(run)} is the result of a run with other settings. Give another --label, or move it away.`,
        );
      }
    }
  }

  /** True if the result of a run of these settings is there. */
  has(run: PlannedRun): boolean {
    const [before, now] = [this.settingsOf(run), changedSettings(run.settings)];
    const names = Object.keys({ ...before, ...now });
    return before !== null && names.every((name) => before[name] === now[name]);
  }

  /**
   * Writes the result of the finished run in the folder `path`. `trainedNow` is false if an earlier process finished it:
   * then the commit is not known.
   */
  write(run: PlannedRun, path: string, trainedNow: boolean): void {
    const file = this.pathOf(run);
    const content = new TextEncoder().encode(fieldPerLine(this.resultOf(run, path, trainedNow)));
    try {
      mkdirSync(dirname(file), { recursive: true });
    } catch (error) {
      throw new ConfigError(`The folder ${dirname(file)} cannot be created (${reason(error)}).`);
    }
    writeFileAtomic(file, content);
  }

  private resultOf(run: PlannedRun, path: string, trainedNow: boolean): object {
    const { name, configuration, rung, changes, settings, parameters, mflops } = run;
    const history = readHistory(path);
    const config = readJson(join(path, 'config.json')) as { version?: string; adapter?: string };
    const { flops, seconds, epochs } = figuresOf(history);
    const changed = changedSettings(settings);
    const init = this.origin.init && basename(this.origin.init);
    const commit = trainedNow ? this.origin.commit : null;
    return {
      ...{
        label: this.label,
        name,
        configuration,
        rung,
        seed: settings.seed,
        changes,
        settings: changed,
        init,
      },
      command: trainCommand(changed, init),
      ...{ parameters, mflops, flops, epochs, seconds: Math.round(seconds * 10) / 10 },
      dataset: changed.dataset ?? settingsTable.dataset.default,
      split: settings.valSplit > 0 ? 'validation' : 'test',
      ...{ version: config.version ?? null, commit: commit?.commit ?? null, dirty: commit?.dirty ?? null },
      adapter: config.adapter ?? null,
      date: statSync(join(path, 'history.json')).mtime.toISOString(),
      columns: ['flops', 'accuracy', 'ema_accuracy', 'train_loss'],
      curve: history.map(pointOf),
    };
  }

  /** The settings in the result of a run; null if there is none. */
  private settingsOf(run: PlannedRun): Changed | null {
    const path = this.pathOf(run);
    if (!statOf(path)) return null;
    const result = readJson(path);
    return isObject(result) && isObject(result.settings) ? result.settings : {};
  }
}
