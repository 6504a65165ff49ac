/**
 * One device for many checks. A device that has reported an error refuses all that follows, because a training run must
 * not go on from it. Checks are independent of each other: here the error ends one of them, and the next gets a new device.
 */
import type { OpenOptions } from '../gpu/device.js';
import { Gpu } from '../gpu/gpu.js';

export class CheckDevice {
  private constructor(
    private readonly options: OpenOptions,
    private opened: Gpu,
  ) {}

  static async open(options: OpenOptions): Promise<CheckDevice> {
    return new CheckDevice(options, await Gpu.open(options));
  }

  get gpu(): Gpu {
    return this.opened;
  }

  /** Waits for submitted work. Where the device reported an error, opens another one, and throws the error. */
  async settle(): Promise<void> {
    try {
      await this.opened.finish();
    } catch (error) {
      this.opened.close();
      this.opened = await Gpu.open(this.options);
      throw error;
    }
  }

  close(): void {
    this.opened.close();
  }
}
