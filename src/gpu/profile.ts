/** GPU time of each kernel, by timestamp queries. While it is enabled, every dispatch gets a pass of its own. */
import type { Dispatch, Origin } from './commands.js';
import { constantsOf } from './pipeline.js';

export interface KernelTime {
  readonly kernel: string;
  /** Its parameters, as `M=64 N=192`, its tuned constants and its workgroups: calls that differ in them are counted apart. */
  readonly work: string;
  readonly calls: number;
  readonly milliseconds: number;
}

/** Time of one pass of an op, summed over its kernels and over the steps collected. */
export interface OpTime extends Origin {
  /** The kernels that ran, each once. */
  readonly kernels: readonly string[];
  readonly milliseconds: number;
}

const NOTHING = { kernels: [], milliseconds: 0, flops: 0 };
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
  private timed: Dispatch[] = [];
  private readonly totals = new Map<string, KernelTime>();
  private readonly origins = new Map<string, OpTime>();

  constructor(private readonly device: GPUDevice) {
    const size = MAX_PASSES * 16;
    this.querySet = device.createQuerySet({ type: 'timestamp', count: 2 * MAX_PASSES });
    this.resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    this.readable = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  }

  /** The descriptor of the next pass. Passes beyond the size of the query set are not timed. */
  pass(dispatch: Dispatch): GPUComputePassDescriptor {
    const at = 2 * this.timed.length;
    if (at >= 2 * MAX_PASSES) return {};
    this.timed.push(dispatch);
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
    const { timed } = this;
    this.timed = [];
    if (timed.length === 0) return;
    const bytes = timed.length * 16;
    const encoder = this.device.createCommandEncoder();
    encoder.resolveQuerySet(this.querySet, 0, 2 * timed.length, this.resolved, 0);
    encoder.copyBufferToBuffer(this.resolved, 0, this.readable, 0, bytes);
    this.device.queue.submit([encoder.finish()]);
    await this.readable.mapAsync(1, 0, bytes);
    const stamps = new BigUint64Array(this.readable.getMappedRange(0, bytes));
    const counted = new Set<Origin>();
    timed.forEach((dispatch, i) => {
      const { kernel } = dispatch.compiled;
      const work = workOf(dispatch);
      const key = `${kernel.name} ${work}`;
      const { calls, milliseconds } = this.totals.get(key) ?? { calls: 0, milliseconds: 0 };
      const spent = Number((stamps[2 * i + 1] as bigint) - (stamps[2 * i] as bigint)) / 1e6;
      this.totals.set(key, {
        kernel: kernel.name,
        work,
        calls: calls + 1,
        milliseconds: milliseconds + spent,
      });
      this.addToOp(dispatch, spent, counted);
    });
    this.readable.unmap();
  }

  /** Adds a dispatch to its op. The operations of a pass count once, however many kernels it has: `counted` has those so far. */
  private addToOp({ compiled, origin }: Dispatch, spent: number, counted: Set<Origin>): void {
    const { name } = compiled.kernel;
    const { op, pass, parameter, flops } = origin ?? { op: name, pass: 'forward', parameter: '', flops: 0 };
    const key = `${op} ${pass} ${parameter}`;
    const before: Pick<OpTime, 'kernels' | 'milliseconds' | 'flops'> = this.origins.get(key) ?? NOTHING;
    const fresh = origin === null || counted.has(origin) ? 0 : flops;
    if (origin) counted.add(origin);
    this.origins.set(key, {
      ...{ op, pass, parameter },
      kernels: before.kernels.includes(name) ? before.kernels : [...before.kernels, name],
      milliseconds: before.milliseconds + spent,
      flops: before.flops + fresh,
    });
  }

  /**
   * Milliseconds, by the device's clock, from the start of the first command that `encoders` add to the end of the last. Each
   * of them is a submit.
   */
  async span(encoders: readonly ((encoder: GPUCommandEncoder) => void)[]): Promise<number> {
    for (const [i, encode] of encoders.entries()) {
      const encoder = this.device.createCommandEncoder();
      const stamp = (index: number) => {
        const timestampWrites = { querySet: this.querySet, endOfPassWriteIndex: index };
        encoder.beginComputePass({ timestampWrites }).end();
      };
      if (i === 0) stamp(0);
      encode(encoder);
      if (i === encoders.length - 1) {
        stamp(1);
        encoder.resolveQuerySet(this.querySet, 0, 2, this.resolved, 0);
        encoder.copyBufferToBuffer(this.resolved, 0, this.readable, 0, 16);
      }
      this.device.queue.submit([encoder.finish()]);
    }
    await this.readable.mapAsync(1, 0, 16);
    const [start, end] = new BigUint64Array(this.readable.getMappedRange(0, 16).slice(0));
    this.readable.unmap();
    return Number((end as bigint) - (start as bigint)) / 1e6;
  }

  /** All times collected, the most expensive kernel first. */
  table(): KernelTime[] {
    return [...this.totals.values()].sort((a, b) => b.milliseconds - a.milliseconds);
  }

  /** The times by op and pass, in the order in which they ran. What belongs to no op stands under the name of its kernel. */
  byOp(): OpTime[] {
    return [...this.origins.values()];
  }

  reset(): void {
    this.totals.clear();
    this.origins.clear();
    this.timed = [];
  }
}

/** The parameters, constants and workgroups of a dispatch; the parameters are known where they travel as immediates. */
function workOf({ compiled: { kernel, specialisation }, immediates, groups }: Dispatch): string {
  const words = new Uint32Array(immediates ?? new ArrayBuffer(0));
  const floats = new Float32Array(words.buffer);
  const params = kernel.interface.fields.map(
    ({ name, type }, i) => `${name}=${(type === 'f32' ? floats : words)[i]}`,
  );
  const known = words.length > 0 ? params : [];
  return [...known, constantsOf(specialisation), groups.join('x')].filter(Boolean).join(' ');
}
