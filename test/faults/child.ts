/** A child process that the fault tests kill, limit or race: `node child.mjs <command> <arguments>`. */
import { readFileSync, writeSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { PatchlightError } from '../../src/core/errors.js';
import type { Put } from '../../src/io/atomic.js';
import { cifarLayouts } from '../../src/io/cifar.js';
import { fetchCifar, readCifar } from '../../src/io/cifar_files.js';
import { checkpointContent, loadParts } from '../../src/runs/checkpoint.js';
import { type Lock, lockRun } from '../../src/runs/lock.js';
import { findState, saveState } from '../../src/runs/state_files.js';
import { largePart } from './large.js';
import { sampleContent } from './sample.js';

const say = (text: string): void => void writeSync(1, `${text}\n`);

/** The text of an error that a user can meet. Any other error is a bug and is thrown again. */
function sentenceOf(error: unknown): string {
  if (error instanceof PatchlightError) return `${error.name}: ${error.message}`;
  throw error;
}

/** Peak resident memory so far, in bytes. getrusage would start from the parent's peak. */
const peakMemory = (): number =>
  1024 * Number(/VmHWM:\s*(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);

const commands: Record<string, (...texts: string[]) => void | Promise<void>> = {
  /** Saves state after state, and prints the number of each saved one. */
  async save(run, first, bytes) {
    for (let step = Number(first); ; step++) {
      await saveState(run as string, sampleContent(step, Number(bytes)));
      say(String(step));
    }
  },

  /** Saves one state. */
  async once(run, step, bytes) {
    try {
      await saveState(run as string, sampleContent(Number(step), Number(bytes)));
      say('saved');
    } catch (error) {
      say(sentenceOf(error));
    }
  },

  /** Begins to save a state, and exits in the middle, as at a second Ctrl-C. */
  async exit(run) {
    const write = async (put: Put) => {
      put(new Uint8Array(100), 0);
      await new Promise((resolve) => setTimeout(resolve, 10));
      process.exit(130);
    };
    await saveState(run as string, { bytes: 200, write });
  },

  /** Fetches a data set; prints what it waits for and how it ended. */
  async fetch(dataDir, layout, address) {
    try {
      await fetchCifar(dataDir as string, JSON.parse(layout as string), { address, onWait: say });
      say('fetched');
    } catch (error) {
      say(sentenceOf(error));
    }
  },

  /** Reads commands: `lock <run> <time>` tries to lock at that time, `release` releases the lock. */
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

  /** Reads the training images of CIFAR-100 in `path`, and prints the largest growth of the process in bytes. */
  read(path) {
    const before = peakMemory();
    try {
      readCifar(path as string, cifarLayouts.cifar100, 'train');
    } catch (error) {
      sentenceOf(error);
    }
    say(String(peakMemory() - before));
  },

  /** Saves a state of about `size` bytes, finds it, loads it, and prints the largest growth of the process in bytes. */
  async large(run, bytes) {
    const before = peakMemory();
    const { order, parts, difference } = largePart(Number(bytes));
    await saveState(run as string, checkpointContent(order, parts, { step: '1' }));
    const { path } = findState(run as string);
    loadParts(path, parts);
    const grown = peakMemory() - before;
    say(JSON.stringify({ path, grown, difference: difference() }));
  },
};

const [command, ...texts] = process.argv.slice(2);
await commands[command as string]?.(...texts);
