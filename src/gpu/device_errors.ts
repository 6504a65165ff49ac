/** What the device says went wrong: some of it at once, some of it later than what follows from it. */
import { DeviceLostError, OutOfMemoryError, type PatchlightError } from '../core/errors.js';

export class DeviceErrors {
  private failure: { readonly error: PatchlightError; readonly cause: boolean } | null = null;
  /** Questions that the device has not answered yet; and a promise for the time when there is none. */
  private open = 0;
  private answered: Promise<unknown> = Promise.resolve();

  /** The first error is kept; a `cause`, which may be told later, takes the place of errors that follow from it. */
  fail(error: PatchlightError, cause = false): void {
    if (!this.failure || (cause && !this.failure.cause)) this.failure = { error, cause };
  }

  /** An answer of the device's that may call `fail`; until it is there, `check` stays silent. */
  expect(answer: Promise<unknown>): void {
    this.open++;
    const done = answer.catch(ignore).finally(() => this.open--);
    this.answered = this.answered.then(() => done);
  }

  /** Resolves when all answers asked for so far are there; null where they are already. */
  get pending(): Promise<unknown> | null {
    return this.open > 0 ? this.answered : null;
  }

  /**
   * Throws what went wrong, if anything did: from then on every time, but for memory that was refused, which is told once:
   * less may fit.
   */
  check(): void {
    if (!this.failure) return;
    const { error } = this.failure;
    if (this.open > 0 && !(error instanceof DeviceLostError)) return;
    if (error instanceof OutOfMemoryError) this.failure = null;
    throw error;
  }
}

// A device that is lost before it answers is reported where it is waited for.
const ignore = (): void => {};
