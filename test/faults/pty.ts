/** Runs commands on a pseudo-terminal, if the system has one, to see their output as a person would. */
import { spawn, spawnSync } from 'node:child_process';
import { isRestored, readScreen, type Screen } from './screen.js';

/** Node has no pseudo-terminals, but util-linux's `script` runs a command on one. Other systems' `script` differs. */
export const hasPty: boolean = /util-linux/.test(
  spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '',
);

export interface SeenOnTerminal {
  /** The exit code; 128 plus the signal's number if a signal ended it, as in shells. */
  readonly code: number;
  /** All output bytes, of standard output and standard error together. */
  readonly bytes: string;
  readonly screen: Screen;
  /** True if the terminal's modes are as before: see `isRestored`. */
  readonly restored: boolean;
}

export interface OnTerminal {
  /** Types at the terminal; `\x03` is Ctrl-C, `\x1a` Ctrl-Z. */
  type(text: string): void;
  /** Resolves once the bytes so far match. Rejects if the command ends before they do. */
  shown(pattern: RegExp): Promise<void>;
  /** Closes the terminal, as closing its window does. */
  hangUp(): void;
  readonly ended: Promise<SeenOnTerminal>;
}

export interface TerminalOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  readonly columns?: number;
}

const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Starts `command` with its arguments on a terminal. Only where `hasPty`. */
export function onTerminal(
  command: readonly string[],
  { env = process.env, cwd, columns = 100 }: TerminalOptions = {},
): OnTerminal {
  // A terminal of `script` has no size of its own where its standard input is none.
  const line = `stty cols ${columns} rows 30; exec ${command.map(quoted).join(' ')}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], { cwd, env: { ...env, TERM: 'xterm' } });
  let bytes = '';
  const watchers = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      bytes += text;
      for (const watch of watchers) watch();
    });
  child.stdin.on('error', () => {}); // the command may end while something is typed
  const ended = new Promise<SeenOnTerminal>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      const screen = readScreen(bytes, columns);
      resolve({ code: code ?? -1, bytes, screen, restored: isRestored(screen) });
    });
  });
  return {
    type: (text) => void child.stdin.write(text),
    hangUp: () => void child.kill('SIGKILL'),
    ended,
    shown: (pattern) =>
      new Promise((resolve, reject) => {
        const watch = () => {
          if (!pattern.test(bytes)) return;
          watchers.delete(watch);
          resolve();
        };
        watchers.add(watch);
        watch();
        void ended.then(() => reject(new Error(`${pattern} never came; the terminal showed:\n${bytes}`)));
      }),
  };
}
