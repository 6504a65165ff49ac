/** Checks a run's files: it has trained, evaluated and saved, and evaluate.js repeats the figures of its history. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeSafetensors } from '../../../src/io/safetensors.js';
import type { Settings } from '../../../src/recipe/settings.js';
import type { EpochEntry, Progress, StepEntry } from '../../../src/training/progress.js';
import { type Check, first, within } from './check.js';
import type { Command, Played } from './play.js';

export const json = <T>(path: string): T => JSON.parse(readFileSync(path, 'utf8')) as T;
const lines = <T>(path: string): T[] =>
  readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as T);
const historyOf = (run: string): EpochEntry[] => json(join(run, 'history.json'));
export const settingsOf = (run: string): Settings =>
  json<{ settings: Settings }>(join(run, 'config.json')).settings;
const weightsOf = (run: string, name: string) => join(run, 'checkpoints', `${name}.safetensors`);

/** Run folders that a command has completed: its own, or those of its sweep. */
export function trained({ command: { program, writes }, code, root, after }: Played): string[] {
  if (code !== 0 || (program !== 'train' && program !== 'sweep')) return [];
  const found = [...after.keys()].filter((path) => path.endsWith('/config.json') && within(path, writes));
  return found.length > 0 ? found.map((path) => join(root, path, '..')) : [join(root, writes)];
}

export const whole: Check = (played) => {
  for (const run of trained(played)) {
    // If only a state was copied, the run's logs are missing, and the new ones may start later.
    const bare = played.command.resume?.copied === true && !existsSync(join(run, 'steps.jsonl'));
    for (const name of ['history.json', ...(bare ? [] : ['steps.jsonl']), 'config.json'])
      if (!existsSync(join(run, name))) return `exit 0 without ${name}`;
    for (const name of ['final', 'best', 'last.state'])
      if (!existsSync(weightsOf(run, name))) return `exit 0 without ${name}.safetensors`;
    const history = historyOf(run);
    const logged = bare ? [] : lines<StepEntry>(join(run, 'steps.jsonl'));
    const done = progressOf(run).step;
    const planned = plannedSteps(settingsOf(run));
    const wrong = first(
      history.length === 0 && 'exit 0 and nothing was trained',
      !Number.isFinite(history.at(-1)?.val_loss) && 'exit 0 and the last epoch is not judged',
      !bare && logged.length === 0 && 'exit 0 and no step is logged',
      !bare &&
        logged.at(-1)?.step !== done &&
        `the last of ${done} steps is not logged: ${logged.at(-1)?.step}`,
      settingsOf(run).patience === 0 &&
        !played.command.resume &&
        done !== planned &&
        `${done} steps of ${planned}`,
    );
    if (wrong) return wrong;
  }
  return null;
};

function progressOf(run: string): Progress {
  const path = weightsOf(run, 'last.state');
  return JSON.parse(decodeSafetensors(path, readFileSync(path)).metadata.progress as string) as Progress;
}

function plannedSteps({
  limitTrain,
  valSplit,
  batchSize,
  gradAccumSteps,
  epochs,
  maxSteps,
}: Settings): number {
  const images = Math.min(limitTrain || 10_000, 10_000) - valSplit;
  const all = epochs * Math.ceil(images / (batchSize * gradAccumSteps));
  return maxSteps > 0 ? Math.min(maxSteps, all) : all;
}

/** The best accuracy of an epoch, of raw or averaged weights; null if it was not evaluated. */
const judged = ({ val_accuracy, ema_val_accuracy }: EpochEntry): number | null =>
  val_accuracy === null ? null : Math.max(val_accuracy, ema_val_accuracy ?? 0);

export const patience: Check = (played) => {
  if (played.command.resume) return null;
  for (const run of trained(played)) {
    const settings = settingsOf(run);
    if (settings.patience === 0) continue;
    let [best, waited, early] = [-1, 0, false];
    for (const accuracy of historyOf(run).map(judged)) {
      early ||= waited >= settings.patience;
      if (accuracy === null) continue;
      waited = accuracy > best ? 0 : waited + 1;
      best = Math.max(best, accuracy);
    }
    if (early) return `goes on after ${settings.patience} evaluations without a better one`;
    if (waited < settings.patience && progressOf(run).step < plannedSteps(settings))
      return `--patience ${settings.patience} ends it after ${waited} evaluations without a better one`;
  }
  return null;
};

/** The accuracy that an evaluation must repeat, from the run's history; null if the history does not have it. */
function expectedAccuracy(
  { args }: Command,
  root: string,
  finished: ReadonlySet<string>,
  copied: ReadonlySet<string>,
): number | null {
  const [, run, of] = /^(\w+)(?:\/checkpoints\/(\w+)\.safetensors)?$/.exec(args[0] as string) ?? [];
  if (!run || settingsOf(join(root, run)).valSplit > 0) return null;
  const history = historyOf(join(root, run));
  const weights = args.includes('--weights') ? args[args.indexOf('--weights') + 1] : null;
  if (weights && !weights.startsWith(`${run}/`)) return null;
  if (weights || of === 'final') return finished.has(run) ? (history.at(-1)?.val_accuracy ?? null) : null;
  return copied.has(run) ? null : Math.max(...history.map((entry) => judged(entry) ?? 0));
}

export function evaluation(
  played: Played,
  finished: ReadonlySet<string>,
  copied: ReadonlySet<string>,
): string | null {
  const { command, code, out, root } = played;
  if (command.program !== 'evaluate' || code !== 0) return null;
  const expected = expectedAccuracy(command, root, finished, copied);
  const { top1 } = JSON.parse(out) as { top1: number };
  return expected === null || expected === top1 ? null : `evaluates to ${top1}, its history says ${expected}`;
}
