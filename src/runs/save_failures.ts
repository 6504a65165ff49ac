/** Saves that fail: training goes on without one or two, since the next may succeed, but not without three in a row. */
import { DiskError, PatchlightError } from '../core/errors.js';

export class SaveFailures {
  private inARow = 0;

  /** `limit` failures in a row are too many. */
  constructor(private readonly limit = 3) {}

  succeeded(): void {
    this.inARow = 0;
  }

  /**
   * Takes note of what a save threw, and returns a sentence for the user. Throws what is not the disk's doing as it is, and
   * a PatchlightError at the last failure in a row that is allowed.
   */
  failed(error: unknown): string {
    if (!(error instanceof DiskError)) throw error;
    this.inARow++;
    if (this.inARow >= this.limit)
      throw new PatchlightError(`${this.inARow} saves in a row have failed; the last one ${error.message}`);
    const left = this.limit - this.inARow;
    return `A save failed and training goes on (${left} more such in a row will end it): ${error.message}`;
  }
}
