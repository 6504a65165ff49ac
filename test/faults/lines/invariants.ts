/** Invariants that must hold after every command line, whatever came before it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Check, first, within } from './check.js';
import { type Command, changed, type Played, type Tree } from './play.js';
import { json, patience, settingsOf, whole } from './results.js';

/**
 * What can only be known while a run is under way, after its config.json was written: a step that diverges, memory that a
 * step lacks, a device that is lost, and a run of a sweep.
 */
const LATER =
  /^patchlight: (Step \d+: |\[[^\]]+\] out of memory: wanted |The GPU device was lost |\S+ failed: )/;

const holds = (tree: Tree, pattern: RegExp): boolean => [...tree.keys()].some((path) => pattern.test(path));
const hasRun = (tree: Tree, run: string) => holds(tree, new RegExp(`^${run}/checkpoints/.+`));
const hasState = (tree: Tree, run: string) => holds(tree, new RegExp(`^${run}/checkpoints/last.*state`));

/** The last argument, which is the wrong one if a command is wrong. */
const lastWord = ({ wrong = [] }: Command): string =>
  wrong.join(' ').replace(/^--(?!no-)[\w-]+/, '--setting');

/** The reason why the command must be refused, given the folder before it; null if there is none. */
function mustRefuse({ command, before, root }: Played): string | null {
  const { program, args, writes, resume, expects } = command;
  if (expects === 'refusal') return `it is wrong by itself: ${lastWord(command)}`;
  if (program === 'evaluate' || program === 'predict')
    return hasRun(before, (args[0] as string).split('/')[0] as string) ? null : 'there is no run';
  if (program === 'sweep') return hasRun(before, writes) ? `${writes} holds a run` : null;
  if (!resume) return hasRun(before, writes) ? `${writes} holds a run` : null;
  const { run, changes, forbidden } = resume;
  if (!hasState(before, run)) return `${run} has no state`;
  if (writes !== run && hasRun(before, writes)) return `${writes} holds another run`;
  const old = settingsOf(join(root, run)) as Record<string, unknown>;
  const other = Object.keys(changes).find((name) => old[name] !== changes[name]);
  return forbidden && other ? `--resume changes ${other}` : null;
}

const exits: Check = ({ code, seconds }) =>
  first(
    code === 137 && `killed after ${seconds.toFixed(0)} s`,
    ![0, 1, 2, 130, 143].includes(code) && `exit code ${code}`,
  );

const exitCodes: Check = (played) => {
  const { code, command } = played;
  const refused = mustRefuse(played);
  return first(
    command.expects === 'usage' && code !== 2 && `wrong usage ends with ${code}: ${lastWord(command)}`,
    command.expects !== 'usage' && code === 2 && `no wrong usage, and ends with 2: ${played.err.trim()}`,
    refused !== null && code === 0 && `accepted though ${refused}`,
    (code === 130 || code === 143) && !command.stop && `ends with ${code} without a signal`,
  );
};

const sentences: Check = ({ code, err, command }) => {
  const said = err.split('\n').filter(Boolean);
  if (code !== 1 && code !== 2) return err === '' ? null : `ends with ${code} and says: ${said[0]}`;
  const hole = /\b(undefined|null|not NaN)\b|\[object/.exec(err)?.[0];
  const most = command.program === 'sweep' ? Number.POSITIVE_INFINITY : 1;
  return first(
    said.length === 0 && 'fails without a word',
    (said.length > most || said.some((line) => !line.startsWith('patchlight: '))) &&
      `more than one sentence, or a stack: ${said.slice(0, 3).join(' | ')}`,
    !/[.?)]$/.test(said[0] as string) && `no sentence: ${said[0]}`,
    hole !== undefined && `a sentence with a hole, ${hole} [${said[0]}]`,
  );
};

/** The beginning of a sentence, without a path before it. */
const gist = (err: string): string =>
  err
    .trim()
    .replace(/^patchlight: (\S*\/\S*:? )?/, '')
    .split(/[:;(]/)[0]!
    .slice(0, 60);

const refusals: Check = ({ code, err, before, after }) => {
  if (code !== 2 && (code !== 1 || LATER.test(err))) return null;
  const touched = changed(before, after);
  return touched.length > 0
    ? `refused, and changed files: ${gist(err)} [${touched.slice(0, 4).join(', ')}; ${err.trim()}]`
    : null;
};

const others: Check = ({ command: { writes }, before, after }) => {
  const touched = changed(before, after).filter((path) => !within(path, writes));
  return touched.length > 0
    ? `changed beside ${writes || 'nothing'} [${touched.slice(0, 4).join(', ')}]`
    : null;
};

const failures: Check = ({ code, before, after }) => {
  const gone =
    code === 0 ? [] : [...before.keys()].filter((path) => !after.has(path) && !/\.tmp$/.test(path));
  return gone.length > 0 ? `fails, and took away ${gone.slice(0, 4).join(', ')}` : null;
};

const remains: Check = ({ after }) => {
  const left = [...after.keys()].filter((path) => /\.tmp$|\.new$|run\.lock|\.takeover$/.test(path));
  return left.length > 0 ? `leaves ${left.join(', ')}` : null;
};

/** A run with usual sizes and learning rates does not diverge within a few steps. */
const tame: Check = ({ err, root, command: { program, writes } }) => {
  if (program !== 'train' || !/^patchlight: Step \d+:.*(NaN|Infinity|not finite)/.test(err)) return null;
  const { amp, learningRate, warmupLr, weightDecay, layerScale, layerNormEps } = settingsOf(
    join(root, writes),
  );
  const bold = [learningRate / 0.05, warmupLr / 0.05, weightDecay / 10, layerScale / 10, layerNormEps].some(
    (share) => share > 1,
  );
  return amp || bold ? null : `diverges [${err.trim()}]`;
};

/** No NaN in files or on standard output: JSON has none, and JSON.stringify writes null instead. */
const numbers: Check = ({ root, after, out }) => {
  for (const path of after.keys()) {
    if (!/\.(json|jsonl|csv)$/.test(path) || path === 'settings.json') continue;
    const text = readFileSync(join(root, path), 'utf8');
    if (/\b(NaN|Infinity)\b/.test(text)) return `${path} has a number that is not finite`;
    const missing =
      !path.endsWith('sweep.json') &&
      /"(train_\w+|loss|lr|images_per_second|seconds|step)": ?null/.exec(text);
    if (missing) return `${path} has ${missing[0]}`;
  }
  const told = /"event":"(?:step|epoch)".*"(loss|accuracy|lr|imagesPerSecond|gflops|train_\w+)":null/.exec(
    out,
  );
  return told ? `standard output has no ${told[1]}` : null;
};

const stopped: Check = ({ code, command: { writes, stop }, after }) =>
  stop && code >= 130 && !hasState(after, `${writes}(/[^/]+)?`)
    ? 'stopped after a step, and no state is saved'
    : null;

/** A sweep keeps the rows of runs that were in its folder before. */
const sweeps: Check = ({ command: { program, writes }, root, before }) => {
  if (program !== 'sweep' || !existsSync(join(root, writes, 'sweep.json'))) return null;
  const runs = json<{ runs: { name: string }[] }>(join(root, writes, 'sweep.json')).runs;
  const told = new Set(runs.map(({ name }) => name));
  const folders = readdirSync(join(root, writes)).filter((name) =>
    before.has(`${writes}/${name}/config.json`),
  );
  const forgotten = folders.find((name) => !told.has(name));
  return forgotten ? `sweep.json forgets the run ${forgotten}` : null;
};

const terminal: Check = ({ restored }) => (restored === false ? 'the terminal is not as it was' : null);

export const invariants: Readonly<Record<string, Check>> = {
  'ends, with a code of its own': exits,
  'the exit code says what went wrong': exitCodes,
  'one sentence says what went wrong': sentences,
  'a refusal changes nothing': refusals,
  'nothing beside its output changes': others,
  'a failure takes nothing away': failures,
  'no lock and no temporary file remains': remains,
  'exit 0 means trained, judged and saved': whole,
  'patience counts evaluations': patience,
  'usual settings do not diverge': tame,
  'all numbers are finite': numbers,
  'a stopped run has a state': stopped,
  'a sweep remembers its runs': sweeps,
  'a terminal is left as it was': terminal,
};
