/** Real runs of `node dist/train.js`, as small as possible. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { beforeAll, expect } from 'vitest';

/** Builds dist/ before the tests of the file, unless scripts/test.mjs has just built it for all files. */
export function withBuild(): void {
  beforeAll(() => {
    if (process.env.PATCHLIGHT_BUILT) return;
    const built = spawnSync(process.execPath, ['scripts/build.mjs'], { encoding: 'utf8' });
    expect(built.stderr).toBe('');
    expect(built.status).toBe(0);
  });
}

export const small =
  '--dataset shapes10 --limit-train 200 --embed-dim 16 --depth 1 --num-heads 2 --patch-size 16 --batch-size 20 --log-interval 1'.split(
    ' ',
  );

export interface Ended {
  /** The exit code; 128 plus the signal's number if a signal ended it, as in shells. */
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly seconds: number;
}

/** Starts a run; `node` are flags of Node itself. */
export function start(
  args: readonly string[],
  node: readonly string[] = [],
): { child: ChildProcess; ended: Promise<Ended> } {
  const began = performance.now();
  const child = spawn(process.execPath, [...node, 'dist/train.js', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) =>
      resolve({
        code: code ?? 128 + constants.signals[signal as NodeJS.Signals],
        out,
        // Dawn's warnings cannot be dropped if standard error is a socket, as it is between two Node processes.
        err: err.replace(/^Warning: maxDynamic.*\n/gm, ''),
        seconds: (performance.now() - began) / 1000,
      }),
    );
  });
  return { child, ended };
}

export const sleep = (seconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

/** Resolves when the output of the run matches. */
export function printed(child: ChildProcess, pattern: RegExp): Promise<void> {
  let seen = '';
  return new Promise((resolve) => {
    child.stdout?.on('data', (text: string) => {
      seen += text;
      if (pattern.test(seen)) resolve();
    });
  });
}

/** Calls `body` for 0 to `count` − 1, several at a time. */
export async function atOnce(most: number, count: number, body: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < count; i = next++) await body(i);
  };
  await Promise.all(Array.from({ length: most }, worker));
}
