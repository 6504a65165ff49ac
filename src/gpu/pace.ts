/** How far the host may run ahead of the device. */
import type { Gpu } from './gpu.js';

/** At most two submissions in flight: the host prepares one while the device runs the other. */
const IN_FLIGHT = 2;

export class Pace {
  private readonly submitted: Promise<unknown>[] = [];

  constructor(private readonly gpu: Gpu) {}

  /** Submits what is pending; waits where more than two submissions would be in flight, and for their memory to be granted. */
  async next(): Promise<void> {
    this.gpu.flush();
    await this.gpu.granted();
    this.submitted.push(this.gpu.submitted());
    if (this.submitted.length > IN_FLIGHT) await this.gpu.settle(this.submitted.shift() as Promise<unknown>);
  }
}
