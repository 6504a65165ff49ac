/** Times work on the device: repeats it until it lasts long enough, does so several times, and takes the median. */
import type { Recording } from '../gpu/commands.js';
import type { Gpu } from '../gpu/gpu.js';
import { scope } from '../tensor/scope.js';

export interface Effort {
  /** Milliseconds that a batch of repeats should last. */
  readonly batchMs: number;
  /** Number of batches. */
  readonly runs: number;
  /** Steps of a model after the first two. */
  readonly steps: number;
}

export const thorough: Effort = { batchMs: 30, runs: 5, steps: 10 };
export const quick: Effort = { batchMs: 8, runs: 3, steps: 3 };

const MOST_REPEATS = 500;
const WARM_UP = 50; // milliseconds

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/**
 * Milliseconds of one `body` that dispatches work; null when it dispatches none. The work is played from a recording, as a
 * training step is, so that the device is timed and not the host. Where `goOn` refuses a recording of one `body` and the
 * milliseconds of playing it once, that is the result.
 */
export async function timed(
  gpu: Gpu,
  body: () => void,
  { batchMs, runs }: Effort,
  goOn: (once: Recording, estimate: number) => boolean = () => true,
): Promise<number | null> {
  const recorded = (times: number) =>
    gpu.record(() => {
      for (let i = 0; i < times; i++) scope(body);
    }).recording;
  const once = recorded(1); // compiles
  await gpu.finish();
  const asks = once.commands.length > 0;
  const estimate = asks ? await gpu.timePlay(once) : 0;
  gpu.pool.trim(once.buffers);
  if (!asks) return null;
  if (!goOn(once, estimate)) return estimate;
  const repeats = Math.min(MOST_REPEATS, Math.ceil(batchMs / estimate));
  const many = recorded(repeats);
  await gpu.finish();
  // A GPU raises its clock only under load.
  const begun = performance.now();
  while (!gpu.info.software && performance.now() - begun < WARM_UP) await gpu.timePlay(many);
  const samples: number[] = [];
  for (let run = 0; run < runs; run++) samples.push(await gpu.timePlay(many));
  gpu.pool.trim(many.buffers);
  return median(samples) / repeats;
}
