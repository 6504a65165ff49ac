/** Log files, which grow by entries. */
import * as nodeFs from 'node:fs';
import { diskError, type FileSystem, writeAll } from './atomic.js';

/** Entries wait in memory until they are written. They are not synced, so a crash of the system may lose the last ones. */
export class AppendLog {
  private waiting: Uint8Array[] = [];

  constructor(
    readonly path: string,
    private readonly fs: FileSystem = nodeFs,
  ) {}

  add(entry: Uint8Array): void {
    this.waiting.push(entry);
  }

  /** Writes all waiting entries or none. After a DiskError they keep waiting. */
  flush(): void {
    if (this.waiting.length === 0) return;
    appendBytes(this.path, Buffer.concat(this.waiting), this.fs);
    this.waiting = [];
  }
}

/** Appends `bytes` as a whole or not at all; a DiskError says what the system refused. */
function appendBytes(path: string, bytes: Uint8Array, fs: FileSystem): void {
  try {
    const fd = fs.openSync(path, 'a');
    try {
      const { size } = fs.fstatSync(fd);
      try {
        writeAll(fs, fd, bytes);
      } catch (error) {
        try {
          fs.ftruncateSync(fd, size);
        } catch {
          // Report the first failure; this one followed from it.
        }
        throw error;
      }
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    throw diskError('append to', path, bytes.length, error);
  }
}
