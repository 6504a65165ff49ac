/** Shared by the fault tests: repetitions, folders, and the records for docs/reliability.md. */
import { appendFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll } from 'vitest';

/** `npm run test:faults` runs every test in its long form. */
const full = process.env.PATCHLIGHT_FAULTS === 'full';
export const times = (short: number, long: number): number => (full ? long : short);

/** For tests that take minutes in their long form. */
export const LONG = 900_000;

export interface Figure {
  /** A heading of docs/reliability.md. */
  readonly section: string;
  readonly provoked: string;
  readonly times: number;
  /** The result that was asserted every time. */
  readonly held: string;
}

/** Records a result for docs/reliability.md. Call it after the assertions. */
export function record(figure: Figure): void {
  const file = process.env.PATCHLIGHT_FIGURES;
  if (file) appendFileSync(file, `${JSON.stringify(figure)}\n`);
}

/** A folder that is removed after the file's tests; in memory if the system has tmpfs, unless it must be on a disk. */
export function scratch(name: string, { onDisk = false } = {}): string {
  const parent = !onDisk && existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const folder = mkdtempSync(join(parent, `patchlight-${name}-`));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bundles child.ts into `folder`, so that Node can run it. */
export function bundleChild(folder: string): string {
  const outfile = join(folder, 'child.mjs');
  buildSync({
    entryPoints: [join(import.meta.dirname, 'child.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
  });
  return outfile;
}
