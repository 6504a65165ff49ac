/**
 * The run that the browser keeps (OPFS, the origin private file system), for a page that is loaded again. Two files take turns, and
 * each has its checksums, so that a tab which ends while it writes leaves the other one whole.
 */
import { decodeSafetensors } from '../io/safetensors.js';
import { progressIn } from '../training/state.js';

const NAMES = ['run-a.safetensors', 'run-b.safetensors'] as const;

/** Not in TypeScript's library for pages: the worker's way to write. */
interface Access {
  truncate(size: number): void;
  write(bytes: Uint8Array, at: { at: number }): number;
  flush(): void;
  close(): void;
}

const folder = (): Promise<FileSystemDirectoryHandle> => navigator.storage.getDirectory();

export interface Kept {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly step: number;
}

export class SavedStates {
  private turn = 0;
  /** The last state that was given, for a browser that keeps no files. */
  private memory: Uint8Array<ArrayBuffer> | null = null;

  /** The newest whole state; null if there is none, or if the browser keeps no files. */
  async newest(): Promise<Kept | null> {
    const found = await Promise.all(NAMES.map((name) => read(name)));
    const steps = found.map((kept) => kept?.step ?? -1);
    const newest = steps[1]! > steps[0]! ? 1 : 0;
    this.turn = 1 - newest;
    return found[newest] ?? (this.memory && whole('memory', this.memory));
  }

  /** Writes a state over the older one. Throws where the browser keeps no files, or has no room. */
  async write(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    this.memory = bytes;
    const handle = await (await folder()).getFileHandle(NAMES[this.turn]!, { create: true });
    const access = await (
      handle as unknown as { createSyncAccessHandle(): Promise<Access> }
    ).createSyncAccessHandle();
    try {
      access.truncate(0);
      access.write(bytes, { at: 0 });
      access.flush();
    } finally {
      access.close();
    }
    this.turn = 1 - this.turn;
  }

  /** Forgets both states, before a new run: an old one must not pass for the new run's. */
  async forget(): Promise<void> {
    this.memory = null;
    const root = await folder();
    for (const name of NAMES) await root.removeEntry(name).catch(() => {});
  }
}

/** A state, if it is there and whole. */
async function read(name: string): Promise<Kept | null> {
  try {
    const handle = await (await folder()).getFileHandle(name);
    const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
    return whole(name, bytes);
  } catch {
    return null;
  }
}

/** A state whose checksums hold. Throws a FormatError for another one. */
const whole = (name: string, bytes: Uint8Array<ArrayBuffer>): Kept => ({
  bytes,
  metadata: decodeSafetensors(name, bytes).metadata,
  step: progressIn(bytes).step,
});
