/** Runs command lines as a shell would, in a folder of their own, and reports the files that each changed. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Ended } from '../commands.js';
import { hasPty, onTerminal } from '../pty.js';

export type Program = 'train' | 'evaluate' | 'predict' | 'sweep';

/** A file of the user's own in the scratch folder. */
export const NOTE = 'note.txt';
export const IMAGE = 'image.png';

/** A command line, with paths relative to the scratch folder, and everything known about it before it runs. */
export interface Command {
  readonly program: Program;
  readonly args: readonly string[];
  /** Arguments that it would also work without. */
  readonly flags?: readonly (readonly string[])[];
  /** The wrong arguments. They are typed last, because the last value of a flag counts. */
  readonly wrong?: readonly string[];
  /** The expected end: exit code 2, exit code 1, or any, since settings can exclude each other. */
  readonly expects: 'usage' | 'refusal' | 'any';
  /** The only folder or file that it may change. */
  readonly writes: string;
  /** Files to create before: the content of a JSON file, or a file to copy. */
  readonly files?: Readonly<Record<string, { readonly json: unknown } | { readonly copy: string }>>;
  /** Sends a signal after a number of logged steps. */
  readonly stop?: { readonly signal: 'SIGINT' | 'SIGTERM'; readonly after: number } | undefined;
  readonly resume?: Resume;
  /** Whether it runs on a terminal, where there is one to be had; else on pipes. */
  readonly terminal?: boolean;
  /** Whether the checks that cost a run of their own are made. */
  readonly thorough?: boolean;
}

export interface Resume {
  /** The run that is resumed. */
  readonly run: string;
  /** Settings that the command line changes, with their values. */
  readonly changes: Readonly<Record<string, unknown>>;
  /** True if they include settings that a resumed run must keep. */
  readonly forbidden: boolean;
  /** True if only a copy of its state is resumed, outside of its folder. */
  readonly copied: boolean;
}

/** Every file below a folder, by path, with a hash of its bytes; a folder has an empty hash. */
export type Tree = ReadonlyMap<string, string>;

export interface Played extends Ended {
  readonly command: Command;
  readonly root: string;
  readonly before: Tree;
  readonly after: Tree;
  /** Whether the terminal is as it was, where it ran on one. */
  readonly restored?: boolean;
}

/** Longer than any of these commands takes on a busy machine, so that a command which runs longer is a defect. */
const PATIENCE = 240;

export const lineOf = ({ args, flags = [], wrong = [] }: Command): string[] => [
  ...args,
  ...flags.flat(),
  ...wrong,
];

export function treeOf(root: string): Tree {
  const names = readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  const hash = (path: string) =>
    statSync(path).isDirectory() ? '' : createHash('sha1').update(readFileSync(path)).digest('hex');
  return new Map(names.map((name) => [name, hash(join(root, name))]));
}

/** Paths that differ between two trees, or are in only one. */
export function changed(before: Tree, after: Tree): string[] {
  const all = new Set([...before.keys(), ...after.keys()]);
  return [...all].filter((path) => before.get(path) !== after.get(path));
}

/** The command as text to paste into a shell, with the commands that create its files. */
export function describe(command: Command): string {
  const { program, files = {}, stop, terminal } = command;
  const quoted = (text: string) => (/^[\w./=,+-]+$/.test(text) ? text : `'${text}'`);
  const made = Object.entries(files).map(([path, file]) =>
    'copy' in file
      ? `mkdir -p ${dirname(path)}; cp ${file.copy} ${path}`
      : `echo '${JSON.stringify(file.json)}' > ${path}`,
  );
  const line = ['node', `dist/${program}.js`, ...lineOf(command).map(quoted)].join(' ');
  const notes = [
    ...(stop ? [`${stop.signal} after ${stop.after} logged steps`] : []),
    ...(terminal ? ['on a terminal'] : []),
  ];
  return [...made, notes.length > 0 ? `${line}   # ${notes.join(', ')}` : line].join('\n');
}

function provide(root: string, { files = {} }: Command): void {
  for (const [path, file] of Object.entries(files)) {
    const to = join(root, path);
    mkdirSync(dirname(to), { recursive: true });
    if ('json' in file) writeFileSync(to, JSON.stringify(file.json));
    else if (existsSync(join(root, file.copy))) cpSync(join(root, file.copy), to);
  }
}

/** Runs the command in `root`. */
export async function play(root: string, command: Command): Promise<Played> {
  provide(root, command);
  const before = treeOf(root);
  const ended = await (command.terminal && hasPty ? onScreen : onPipes)(root, command);
  return { ...ended, command, root, before, after: treeOf(root) };
}

const nodeLine = (command: Command): string[] => [
  process.execPath,
  resolve('dist', `${command.program}.js`),
  ...lineOf(command),
];
const environment = { ...process.env, PATCHLIGHT_DATA: 'no-data' };

// No sentence is as long as this, so that none is broken into two lines.
const COLUMNS = 5000;

/** A terminal has one output: the sentences of the command's errors are told from the rest by how they begin. */
async function onScreen(root: string, command: Command): Promise<Ended & { restored: boolean }> {
  const began = performance.now();
  const terminal = onTerminal(nodeLine(command), { cwd: root, env: environment, columns: COLUMNS });
  const limit = setTimeout(() => terminal.hangUp(), 1000 * PATIENCE);
  const { code, screen, restored } = await terminal.ended;
  clearTimeout(limit);
  const isError = (line: string) => line.startsWith('patchlight: ');
  return {
    code,
    out: screen.lines.filter((line) => !isError(line)).join('\n'),
    err: screen.lines.filter(isError).join('\n'),
    seconds: (performance.now() - began) / 1000,
    restored,
  };
}

function onPipes(root: string, command: Command): Promise<Ended> {
  const { stop } = command;
  const began = performance.now();
  const [node, ...args] = nodeLine(command) as [string, ...string[]];
  const child = spawn(node, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: environment });
  let [out, err, told] = ['', '', 0];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    const steps = out.match(/"event":"step"/g)?.length ?? 0;
    if (stop && told < stop.after && steps >= stop.after) child.kill(stop.signal);
    told = steps;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const limit = setTimeout(() => child.kill('SIGKILL'), 1000 * PATIENCE);
  return new Promise((settle, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(limit);
      settle({
        code: code ?? 128 + constants.signals[signal as NodeJS.Signals],
        out,
        err: err.replace(/^Warning: maxDynamic.*\n/gm, ''),
        seconds: (performance.now() - began) / 1000,
      });
    });
  });
}
