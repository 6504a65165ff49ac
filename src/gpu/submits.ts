/**
 * Long lists of commands become several submits. Where a GPU also draws the screen, the system resets it if one submit holds it
 * for too long, which a training step of a slow card may do: Windows allows two seconds. Dispatches are not cut, and the
 * results have the same bits. CPU drivers have no such limit.
 */
import type { Command } from './commands.js';

/** Seconds that a submit should take: a quarter of what Windows allows, because a list's dispatches differ in length. */
const GOAL = 0.5;
/**
 * Dispatches of a submit while it is not known how long they take. Four products of ViT-B/16's MLP at batch 64 are 240 GFLOP:
 * 1.2 s on a GPU inside a processor (0.2 TFLOP/s). A submit costs the host some 0.05 ms, and a list is unknown only once.
 */
const UNKNOWN = 4;
/** Lists that are remembered. Work whose sizes never repeat must not fill the memory. */
const MOST = 1000;

/** How many of a list's dispatches go into a submit, from the seconds that the whole list takes. Equal numbers, the last fewer. */
export function dispatchesPerSubmit(dispatches: number, seconds: number | undefined): number {
  if (seconds === undefined) return UNKNOWN;
  return Math.ceil(dispatches / Math.max(1, Math.ceil(seconds / GOAL)));
}

/**
 * What a list is expected to take after it has taken `took` seconds. It sinks by half at most: a host that was busy sees two
 * submissions end at one moment, as if the second had taken no time.
 */
export const expectedSeconds = (before: number | undefined, took: number): number =>
  Math.max(took, (before ?? 0) / 2);

/** The commands in pieces of `most` dispatches, in order. What comes between two dispatches goes with the first. */
export function cut(commands: readonly Command[], most: number): readonly (readonly Command[])[] {
  const starts = [0];
  let dispatches = 0;
  for (const [i, { kind }] of commands.entries())
    if (kind === 'dispatch' && dispatches++ > 0 && (dispatches - 1) % most === 0) starts.push(i);
  return starts.map((start, i) => commands.slice(start, starts[i + 1]));
}

/** How long lists of commands took, by their numbers of dispatches and workgroups. Work of the same size takes the same time. */
export class Submits {
  private readonly seconds = new Map<string, number>();
  private lastEnd = 0;

  /** The pieces of a list, each to be submitted by itself. */
  pieces(commands: readonly Command[]): readonly (readonly Command[])[] {
    const { dispatches, key } = size(commands);
    const most = dispatchesPerSubmit(dispatches, this.seconds.get(key));
    return most >= dispatches ? [commands] : cut(commands, most);
  }

  /** Call it when a list is submitted, and the result when it has run. The time in which earlier work ran is not counted. */
  begin(commands: readonly Command[]): () => void {
    const began = performance.now();
    return () => {
      const now = performance.now();
      this.learn(commands, (now - Math.max(began, this.lastEnd)) / 1000);
      this.lastEnd = now;
    };
  }

  learn(commands: readonly Command[], took: number): void {
    const { key } = size(commands);
    const seconds = expectedSeconds(this.seconds.get(key), took);
    if (this.seconds.size >= MOST) this.seconds.clear();
    this.seconds.set(key, seconds);
  }
}

function size(commands: readonly Command[]): { dispatches: number; key: string } {
  let [dispatches, workgroups] = [0, 0];
  for (const command of commands)
    if (command.kind === 'dispatch') {
      const [x, y, z] = command.groups;
      dispatches++;
      workgroups += x * y * z;
    }
  return { dispatches, key: `${dispatches} ${workgroups}` };
}
