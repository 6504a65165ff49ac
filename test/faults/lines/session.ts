/** Plays a sequence of command lines in a fresh folder and checks every invariant after each. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import sharp from 'sharp';
import { results } from '../run.js';
import { invariants } from './invariants.js';
import { type Command, IMAGE, lineOf, NOTE, type Played, play } from './play.js';
import { evaluation } from './results.js';

const PICTURE = { width: 40, height: 32, channels: 3, background: '#3a6' } as const;

/** A broken invariant, and the observation that breaks it. */
export interface Broken {
  readonly invariant: string;
  readonly seen: string;
  /** Index of the command after which it was seen. */
  readonly at: number;
}

/** A key for the likely defect: the sentence without numbers, paths and details in square brackets. */
export const causeOf = ({ invariant, seen }: Omit<Broken, 'at'>): string =>
  `${invariant}: ${seen.replace(/ \[.*\]$/s, '').replace(/\b\d[\d.e+-]*|\b[ab]\b/g, '#')}`;

/** True for broken invariants that count, by their cause. */
type Counts = (cause: string) => boolean;

/** The result of a check that could not read a command's files. */
const unreadable = ({ message }: Error) => ({ invariant: 'every file can be read', seen: message });

class Session {
  /** Runs that were trained to their end by their last command. */
  private readonly finished = new Set<string>();
  /** Runs resumed from a copied state. Earlier best weights are missing there, so the best is evaluated anew. */
  private readonly copied = new Set<string>();
  /** Runs whose result depends only on the command line that started them, however often they were stopped. */
  private readonly origins = new Map<string, readonly string[]>();

  constructor(
    private readonly root: string,
    private readonly counts: Counts,
    private readonly seen: (played: Played) => void,
  ) {}

  async check(command: Command): Promise<Omit<Broken, 'at'> | null> {
    const played = await play(this.root, command);
    this.seen(played);
    const quick = Object.entries(invariants).map(([invariant, check]) => async () => ({
      invariant,
      seen: check(played),
    }));
    for (const look of [...quick, () => this.agreement(played), () => this.continuation(played)]) {
      const { invariant, seen } = await look().catch(unreadable);
      if (seen && this.counts(causeOf({ invariant, seen }))) return { invariant, seen };
    }
    return null;
  }

  private async agreement(played: Played) {
    this.remember(played);
    return {
      invariant: 'evaluate.js agrees with history.json',
      seen: evaluation(played, this.finished, this.copied),
    };
  }

  /** Needs a run of its own. */
  private async continuation({ command, code }: Played) {
    const wanted = command.resume && command.thorough && code === 0;
    const seen = wanted ? await this.compare(command) : null;
    return { invariant: 'a continued run is the undisturbed one', seen };
  }

  private remember({ command, code }: Played): void {
    const { program, args, writes, resume } = command;
    if (program !== 'train' || (code !== 0 && code < 130)) return;
    if (writes === 'runs') return; // a new folder in it, named after the time
    if (code === 0) this.finished.add(writes);
    else this.finished.delete(writes);
    if (resume?.copied) this.copied.add(writes);
    else if (resume && this.copied.has(resume.run)) this.copied.add(writes);
    else if (!resume) this.copied.delete(writes);
    const origin = resume ? this.origins.get(resume.run) : lineOf(command);
    const same = origin && !args.includes('--init') && Object.keys(resume?.changes ?? {}).length === 0;
    if (same) this.origins.set(writes, origin);
    else this.origins.delete(writes);
  }

  /** Trains the run again without interruption, and reports differences. */
  private async compare({ writes, resume }: Command): Promise<string | null> {
    const origin = this.origins.get(writes);
    if (!origin) return null;
    const output = 'undisturbed';
    const args = [...origin, '--output', output];
    const { code, err } = await play(this.root, { program: 'train', args, expects: 'any', writes: output });
    if (code !== 0) return `undisturbed it ends with ${code}: ${err.trim()}`;
    const [ours, theirs] = [writes, output].map((run) => {
      const { tensors, ...rest } = results(join(this.root, run));
      const whole = tensors.filter(([name]) => !(this.copied.has(writes) && name === 'best.safetensors'));
      return { ...rest, tensors: whole };
    }) as [ReturnType<typeof results>, ReturnType<typeof results>];
    rmSync(join(this.root, output), { recursive: true });
    const parts =
      writes === resume?.run ? (['steps', 'history', 'tensors'] as const) : (['history', 'tensors'] as const);
    return parts.find((part) => !isDeepStrictEqual(ours[part], theirs[part])) ?? null;
  }

  /** Checks that evaluating every run's best weights repeats the best accuracy of its history. */
  async end(): Promise<Omit<Broken, 'at'> | null> {
    for (const run of this.finished) {
      const args = [run, '--no-report', '--json'];
      const found = await this.check({ program: 'evaluate', args, expects: 'any', writes: '' });
      if (found) return found;
    }
    return null;
  }
}

/** The first broken invariant that counts; null if all hold. `seen` is called with each command after it was played. */
export async function broken(
  sequence: readonly Command[],
  counts: Counts,
  seen: (played: Played) => void = () => {},
): Promise<Broken | null> {
  const root = mkdtempSync(join(process.platform === 'linux' ? '/dev/shm' : tmpdir(), 'patchlight-lines-'));
  try {
    mkdirSync(join(root, 'no-data'));
    writeFileSync(join(root, NOTE), 'a file of somebody');
    await sharp({ create: PICTURE }).png().toFile(join(root, IMAGE));
    const session = new Session(root, counts, seen);
    for (const [at, command] of sequence.entries()) {
      const found = await session.check(command);
      if (found) return { ...found, at };
    }
    const found = await session.end();
    return found && { ...found, at: sequence.length };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}
