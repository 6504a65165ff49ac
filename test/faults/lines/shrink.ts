/** Shrinks a sequence of command lines to a shorter one that breaks the same invariant. */
import type { Command } from './play.js';

/** Candidates with parts of the given sequence removed, the largest parts first, because each takes seconds to play. */
function* shorter(sequence: readonly Command[]): Generator<Command[]> {
  if (sequence.length > 1) for (const i of sequence.keys()) yield sequence.filter((_, k) => k !== i);
  const instead = (i: number, command: Command) => sequence.with(i, command);
  for (const [i, command] of sequence.entries()) {
    const { flags = [], stop, files = {} } = command;
    if (flags.length > 1) yield instead(i, { ...command, flags: [] });
    for (const k of flags.keys()) yield instead(i, { ...command, flags: flags.filter((_, n) => n !== k) });
    if (stop) yield instead(i, { ...command, stop: undefined });
    for (const [name, file] of Object.entries(files))
      if ('json' in file && Object.keys(file.json as object).length > 0)
        yield instead(i, { ...command, files: { ...files, [name]: { json: {} } } });
  }
}

/** Removes parts that do not matter, with at most `most` calls of `breaks`. */
export async function shrink(
  sequence: readonly Command[],
  breaks: (sequence: readonly Command[]) => Promise<boolean>,
  most: number,
): Promise<readonly Command[]> {
  let tries = 0;
  for (let best = sequence; ; ) {
    let found: Command[] | null = null;
    for (const candidate of shorter(best)) {
      if (tries++ >= most) return best;
      if (!(await breaks(candidate))) continue;
      found = candidate;
      break;
    }
    if (!found) return best;
    best = found;
  }
}
