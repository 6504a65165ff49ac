/** The loss of a device, against which every wait for it is raced. */
import type { DeviceLostError } from '../core/errors.js';

export class DeviceLoss {
  private error: DeviceLostError | null = null;
  /** How to reject what is being waited for. */
  private readonly waiting = new Set<(error: DeviceLostError) => void>();

  /** The device is lost: whatever is waited for rejects with `error`, now and from now on. */
  declare(error: DeviceLostError): void {
    this.error = error;
    for (const reject of this.waiting) reject(error);
  }

  /**
   * Settles as `promise` does, or rejects at the loss. Promise.race would leave every result, and so all bytes ever read, with a
   * promise of the loss for as long as the device is there.
   */
  race<T>(promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.error) reject(this.error);
      this.waiting.add(reject);
      promise.then(resolve, reject).finally(() => this.waiting.delete(reject));
    });
  }
}
