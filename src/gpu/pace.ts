/** How far the host may run ahead of the device. */
import type { Gpu } from './gpu.js';

/** At most two submissions in flight: the host prepares one while the device runs the other. */
const IN_FLIGHT = 2;

/** Seconds from which a submission is waited for at once: who asks for the end must wait for all that is in flight. */
const LONG = 2;

export class Pace {
  private readonly submitted: Promise<unknown>[] = [];
  private since = performance.now();
  /** From one submission to the next; the first, of which nothing is known, is taken for a long one. */
  private seconds = LONG;

  constructor(private readonly gpu: Gpu) {}

  /** Submits what is pending; waits where more would be in flight than may be, and for their memory to be granted. */
  async next(): Promise<void> {
    this.gpu.flush();
    await this.gpu.granted();
    this.submitted.push(this.gpu.submitted());
    const most = this.seconds < LONG ? IN_FLIGHT : 0;
    while (this.submitted.length > most) await this.gpu.settle(this.submitted.shift() as Promise<unknown>);
    const now = performance.now();
    this.seconds = (now - this.since) / 1000;
    this.since = now;
  }
}
