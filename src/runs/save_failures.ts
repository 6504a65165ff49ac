/** Failed saves. Training continues after one or two of them, since the next may succeed; three in a row end it. */
import { DiskError, PatchlightError } from '../core/errors.js';

export class SaveFailures {
  private inARow = 0;

  /** The failure number `limit` in a row ends training. */
  constructor(private readonly limit = 3) {}

  succeeded(): void {
    this.inARow = 0;
  }

  /**
   * Counts a failed save, and returns a note for the user. An error that is not a DiskError is thrown again. Throws a
   * PatchlightError at failure number `limit` in a row.
   */
  failed(error: unknown): string {
    if (!(error instanceof DiskError)) throw error;
    this.inARow++;
    if (this.inARow >= this.limit)
      throw new PatchlightError(
        `${this.inARow} saves in a row have failed. The last error: ${error.message}`,
      );
    const left = this.limit - this.inARow;
    return `A save failed and training continues (${left} more failures in a row will end it): ${error.message}`;
  }
}
