/** Commands on a pseudo-terminal, where there is one to be had: what a person at it would see. */
import { spawn, spawnSync } from 'node:child_process';
import { isRestored, readScreen, type Screen } from './screen.js';

/** Node has no pseudo-terminals. util-linux has: its `script` runs a command on one; the `script` of other systems differs. */
export const hasPty: boolean = /util-linux/.test(
  spawnSync('script', ['--version'], { encoding: 'utf8' }).stdout ?? '',
);

export interface SeenOnTerminal {
  /** As shells count, where a signal ended it. */
  readonly code: number;
  /** Every byte that came out, standard output and error in one. */
  readonly bytes: string;
  readonly screen: Screen;
  /** Whether the terminal is as it was: see `isRestored`. */
  readonly restored: boolean;
}

export interface OnTerminal {
  /** Types at the terminal; `\x03` is Ctrl-C, `\x1a` Ctrl-Z. */
  type(text: string): void;
  /** Resolves once the bytes so far match. Rejects if the command ends before they do. */
  shown(pattern: RegExp): Promise<void>;
  /** The terminal goes away, as when its window is closed. */
  hangUp(): void;
  readonly ended: Promise<SeenOnTerminal>;
}

const COLUMNS = 100;
const quoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;

/** Starts `command` with its arguments on a terminal of 100 columns. Only where `hasPty`. */
export function onTerminal(command: readonly string[], env = process.env): OnTerminal {
  // A terminal of `script` has no size of its own where its standard input is none.
  const line = `stty cols ${COLUMNS} rows 30; exec ${command.map(quoted).join(' ')}`;
  const child = spawn('script', ['-qec', line, '/dev/null'], { env: { ...env, TERM: 'xterm' } });
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
      const screen = readScreen(bytes, COLUMNS);
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

/** Runs `command` on a terminal to its end; null where no pseudo-terminal is to be had. */
export async function runOnTerminal(command: readonly string[]): Promise<SeenOnTerminal | null> {
  return hasPty ? onTerminal(command).ended : null;
}
