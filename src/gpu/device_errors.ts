/** Errors that the device reports. Some replies arrive after the errors that follow from their cause. */
import { DeviceLostError, OutOfMemoryError, type PatchlightError } from '../core/errors.js';

export class DeviceErrors {
  private failure: { readonly error: PatchlightError; readonly cause: boolean } | null = null;
  /** Replies that the device still owes, and a promise that resolves when it owes none. */
  private open = 0;
  private answered: Promise<unknown> = Promise.resolve();

  /** Keeps the first error. A `cause` may be reported later and replaces an error that follows from it. */
  fail(error: PatchlightError, cause = false): void {
    if (!this.failure || (cause && !this.failure.cause)) this.failure = { error, cause };
  }

  /** Registers a pending reply that may call `fail`. Until it arrives, `check` throws nothing. */
  expect(answer: Promise<unknown>): void {
    this.open++;
    const done = answer.catch(ignore).finally(() => this.open--);
    this.answered = this.answered.then(() => done);
  }

  /** Resolves when all replies registered so far have arrived; null if none is pending. */
  get pending(): Promise<unknown> | null {
    return this.open > 0 ? this.answered : null;
  }

  /**
   * Throws the error, if there is one, now and at every later call. Only OutOfMemoryError is thrown once, because a
   * smaller batch may fit.
   */
  check(): void {
    if (!this.failure) return;
    const { error } = this.failure;
    if (this.open > 0 && !(error instanceof DeviceLostError)) return;
    if (error instanceof OutOfMemoryError) this.failure = null;
    throw error;
  }
}

// If the device is lost before it replies, the code that waits for the device throws DeviceLostError.
const ignore = (): void => {};
