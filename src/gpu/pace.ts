/** How far the host may run ahead of the device. */
import type { Gpu } from './gpu.js';

/** At most two submissions in flight: the host prepares one while the device runs the other. */
const IN_FLIGHT = 2;

/** A submission of this many seconds is waited for at once, because stopping a run must wait for all work in flight. */
const LONG = 2;

export class Pace {
  private readonly submitted: Promise<unknown>[] = [];
  private since = performance.now();
  /** Time between the last two submissions. The first one counts as long, because its time is not known yet. */
  private seconds = LONG;

  constructor(private readonly gpu: Gpu) {}

  /** Submits the pending commands; waits until their memory is granted and no more than IN_FLIGHT submissions run. */
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
