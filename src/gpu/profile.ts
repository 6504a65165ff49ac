/** GPU time of each kernel, by timestamp queries. While it is enabled, every dispatch gets a pass of its own. */

export interface KernelTime {
  readonly kernel: string;
  readonly calls: number;
  readonly milliseconds: number;
}

const MAX_PASSES = 2048; // a query set holds at most 4096 timestamps
const QUERY_RESOLVE = 0x200;
const COPY_SRC = 0x04;
const COPY_DST = 0x08;
const MAP_READ = 0x01;

export class Profiler {
  enabled = false;
  private readonly querySet: GPUQuerySet;
  private readonly resolved: GPUBuffer;
  private readonly readable: GPUBuffer;
  private labels: string[] = [];
  private readonly totals = new Map<string, { calls: number; nanoseconds: number }>();

  constructor(private readonly device: GPUDevice) {
    const size = MAX_PASSES * 16;
    this.querySet = device.createQuerySet({ type: 'timestamp', count: 2 * MAX_PASSES });
    this.resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    this.readable = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  }

  /** The descriptor of the next pass. Passes beyond the size of the query set are not timed. */
  pass(kernel: string): GPUComputePassDescriptor {
    const at = 2 * this.labels.length;
    if (at >= 2 * MAX_PASSES) return {};
    this.labels.push(kernel);
    return {
      timestampWrites: {
        querySet: this.querySet,
        beginningOfPassWriteIndex: at,
        endOfPassWriteIndex: at + 1,
      },
    };
  }

  /** Reads the timestamps of all passes since the last call. Call it once a step. */
  async collect(): Promise<void> {
    const labels = this.labels;
    this.labels = [];
    if (labels.length === 0) return;
    const bytes = labels.length * 16;
    const encoder = this.device.createCommandEncoder();
    encoder.resolveQuerySet(this.querySet, 0, 2 * labels.length, this.resolved, 0);
    encoder.copyBufferToBuffer(this.resolved, 0, this.readable, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    await this.readable.mapAsync(1, 0, bytes);
    const stamps = new BigUint64Array(this.readable.getMappedRange(0, bytes));
    labels.forEach((label, i) => {
      const total = this.totals.get(label) ?? { calls: 0, nanoseconds: 0 };
      total.calls++;
      total.nanoseconds += Number((stamps[2 * i + 1] as bigint) - (stamps[2 * i] as bigint));
      this.totals.set(label, total);
    });
    this.readable.unmap();
  }

  /** All times collected, the most expensive kernel first. */
  table(): KernelTime[] {
    return [...this.totals]
      .map(([kernel, { calls, nanoseconds }]) => ({ kernel, calls, milliseconds: nanoseconds / 1e6 }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }

  reset(): void {
    this.totals.clear();
    this.labels = [];
  }
}
