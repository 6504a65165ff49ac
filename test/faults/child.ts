/** A process for the fault tests to kill, to limit or to race: `node child.mjs <command> <arguments>`. */
import { readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { PatchlightError } from '../../src/core/errors.js';
import { cifarLayouts } from '../../src/io/cifar.js';
import { readCifar } from '../../src/io/cifar_files.js';
import { readCheckpoint } from '../../src/train/checkpoint.js';
import { type Lock, lockRun } from '../../src/train/lock.js';
import { saveState } from '../../src/train/states.js';
import { sampleState } from './sample.js';

const say = (text: string): void => void writeSync(1, `${text}\n`);

/** A sentence where a user would get one. */
function sentenceOf(error: unknown): string {
  if (error instanceof PatchlightError) return `${error.name}: ${error.message}`;
  throw error;
}

/** Bytes at most so far. What getrusage says starts with the peak of the parent. */
const peakMemory = (): number =>
  1024 * Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

const commands: Record<string, (...texts: string[]) => void> = {
  /** Saves state after state, and says the number of each one that is saved. */
  save(run, first, bytes) {
    for (let step = Number(first); ; step++) {
      saveState(run as string, sampleState(step, Number(bytes)));
      say(String(step));
    }
  },

  /** Saves one state. */
  once(run, step, bytes) {
    try {
      saveState(run as string, sampleState(Number(step), Number(bytes)));
      say('saved');
    } catch (error) {
      say(sentenceOf(error));
    }
  },

  /** Each line `lock <run> <time>` is a try to lock at that time, `release` gives it back. */
  lock() {
    let lock: Lock | null = null;
    createInterface({ input: process.stdin }).on('line', (line) => {
      const [verb, run, time] = line.split(' ');
      if (verb === 'lock') {
        while (Date.now() < Number(time));
        try {
          lock = lockRun(run as string);
          say('won');
        } catch (error) {
          say(sentenceOf(error));
        }
      } else {
        lock?.release();
        lock = null;
        say('released');
      }
    });
  },

  /** Reads a file and says by how many bytes the process has grown at most. */
  read(kind, path) {
    const before = peakMemory();
    try {
      if (kind === 'cifar100') readCifar(path as string, cifarLayouts.cifar100, 'train');
      else readCheckpoint(path as string);
    } catch (error) {
      sentenceOf(error);
    }
    say(String(peakMemory() - before));
  },
};

const [command, ...texts] = process.argv.slice(2);
commands[command as string]?.(...texts);
