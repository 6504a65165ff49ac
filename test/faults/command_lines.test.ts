/**
 * Random sequences of command lines, each from its own seed. To run thousands, or one that a report names:
 * `PATCHLIGHT_SEQUENCES=2000 PATCHLIGHT_SEED=70000 node node_modules/vitest/vitest.mjs run test/faults/command_lines.test.ts`
 */
import { appendFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { atOnce, withBuild } from './commands.js';
import { record, times } from './common.js';
import { type Command, describe, type Played } from './lines/play.js';
import { sequences } from './lines/sequences.js';
import { type Broken, broken, causeOf } from './lines/session.js';
import { shrink } from './lines/shrink.js';

withBuild();

const count = Number(process.env.PATCHLIGHT_SEQUENCES ?? times(12, 300));
const seed = Number(process.env.PATCHLIGHT_SEED ?? 1);
/** A file to log every command with its exit code and error sentence. */
const told = process.env.PATCHLIGHT_TOLD;
/** The most replays for shrinking a sequence; each takes seconds. */
const REPLAYS = Number(process.env.PATCHLIGHT_REPLAYS ?? 30);

interface Found {
  readonly broken: Broken;
  readonly sequence: readonly Command[];
  readonly seed: number;
}

/** Plays the sequence of a seed, and shrinks it if it breaks an invariant whose cause is not `known` yet. */
async function findIn(
  one: number,
  known: Set<string>,
  seen: (played: Played) => void,
): Promise<Found | null> {
  const [sequence] = fc.sample(sequences, { seed: one, numRuns: 1 }) as [Command[]];
  const found = await broken(sequence, (cause) => !known.has(cause), seen);
  if (!found) return null;
  const cause = causeOf(found);
  known.add(cause);
  const same = async (shorter: readonly Command[]) =>
    (await broken(shorter, (other) => other === cause)) !== null;
  return { broken: found, sequence: await shrink(sequence.slice(0, found.at + 1), same, REPLAYS), seed: one };
}

function report({ broken: { invariant, seen }, sequence, seed: one }: Found): string {
  return [`Broken: ${invariant}. ${seen} (seed ${one})`, ...sequence.map(describe)].join('\n');
}

it('sequences of random command lines keep what is promised of each', {
  timeout: 60_000 + 120_000 * count,
}, async () => {
  const known = new Set<string>();
  const reports: string[] = [];
  const seen = { commands: 0, done: 0 };
  const note = ({ command, code, err, seconds }: Played) => {
    seen.commands++;
    if (code === 0) seen.done++;
    if (told) appendFileSync(told, `${JSON.stringify({ code, seconds, err, line: describe(command) })}\n`);
  };
  await atOnce(2, count, async (i) => {
    const found = await findIn(seed + i, known, note);
    if (!found) return;
    reports.push(report(found));
    if (process.env.PATCHLIGHT_SEQUENCES) console.log(`${report(found)}\n`);
  });
  expect(reports, reports.join('\n\n')).toEqual([]);
  record({
    section: 'Command lines',
    provoked: 'Random sequences of train, evaluate, predict and sweep, right and wrong, in one folder',
    times: count,
    held: `of ${seen.commands} commands ${seen.done} did what they say, whole; the others refused in one sentence, and changed nothing`,
  });
});
