/** Makes every wait for a device reject when the device is lost. */
import type { DeviceLostError } from '../core/errors.js';

export class DeviceLoss {
  private error: DeviceLostError | null = null;
  /** Reject functions of the promises that are being waited for. */
  private readonly waiting = new Set<(error: DeviceLostError) => void>();

  /** Rejects every pending and every later wait with `error`. */
  declare(error: DeviceLostError): void {
    this.error = error;
    for (const reject of this.waiting) reject(error);
  }

  /**
   * Settles as `promise` does, or rejects when the device is lost. Promise.race with a promise of the loss would keep every
   * result alive, and so all bytes ever read back, for as long as the device lives.
   */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.error) reject(this.error);
      this.waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.waiting.delete(reject));
    });
  }
}
