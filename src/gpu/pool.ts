/**
 * GPU buffers by size class, with exact accounting. A released buffer is free at once: everything runs on one queue in
 * order, so whoever gets it next writes after the last reader has read.
 */
import { OutOfMemoryError } from '../core/errors.js';

export interface PoolBuffer {
  /** Never reused: bind groups are cached by it. */
  readonly id: number;
  readonly buffer: GPUBuffer;
  /** Capacity in bytes, the size class. */
  readonly bytes: number;
  readonly home: FreeList;
}

/** Free buffers by capacity. A recording holds one of its own, so that nothing else gets its buffers. */
export type FreeList = Map<number, PoolBuffer[]>;

export const formatBytes = (bytes: number): string =>
  bytes >= 1e9
    ? `${(bytes / 1e9).toFixed(2)} GB`
    : bytes >= 1e6
      ? `${(bytes / 1e6).toFixed(1)} MB`
      : `${bytes} B`;

/** Eight classes an octave: at most one eighth is wasted, and a 256-byte granule keeps every offset alignable. */
export function sizeClass(bytes: number): number {
  const granule = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 3));
  return Math.ceil(bytes / granule) * granule;
}

const USAGE = 0x80 | 0x08 | 0x04; // STORAGE | COPY_DST | COPY_SRC

export class BufferPool {
  /** Bytes in buffers that somebody holds. */
  liveBytes = 0;
  /** Bytes in all buffers that exist, free ones included. */
  reservedBytes = 0;
  /** The highest reservedBytes so far. */
  peakBytes = 0;
  /** How many buffers were ever created: constant in the steady state. */
  created = 0;

  private nextId = 0;
  private readonly common: FreeList = new Map();
  private active: FreeList = this.common;

  constructor(
    private readonly device: GPUDevice,
    private readonly budgetBytes: number,
    private readonly onDestroyed: () => void,
  ) {}

  acquire(bytes: number, label: string): PoolBuffer {
    const capacity = sizeClass(bytes);
    const buffer = this.active.get(capacity)?.pop() ?? this.create(capacity, label);
    this.liveBytes += capacity;
    return buffer;
  }

  release(buffer: PoolBuffer): void {
    this.liveBytes -= buffer.bytes;
    const list = buffer.home.get(buffer.bytes);
    if (list) list.push(buffer);
    else buffer.home.set(buffer.bytes, [buffer]);
  }

  /** Runs `body` with a free list of its own: the buffers it acquires go back there and nowhere else. */
  withList<T>(list: FreeList, body: () => T): T {
    const before = this.active;
    this.active = list;
    try {
      return body();
    } finally {
      this.active = before;
    }
  }

  /** Destroys every free buffer of a list, the common one unless told. */
  trim(list: FreeList = this.common): void {
    for (const buffers of list.values())
      for (const { buffer, bytes } of buffers) {
        buffer.destroy();
        this.reservedBytes -= bytes;
      }
    list.clear();
    this.onDestroyed();
  }

  private create(bytes: number, label: string): PoolBuffer {
    if (this.reservedBytes + bytes > this.budgetBytes) this.trim();
    if (this.reservedBytes + bytes > this.budgetBytes)
      throw new OutOfMemoryError(
        `[${label}] out of memory: wanted ${formatBytes(bytes)}, live ${formatBytes(this.liveBytes)} of a budget of ` +
          `${formatBytes(this.budgetBytes)}, peak ${formatBytes(this.peakBytes)}. A smaller batch size needs less.`,
      );
    if (bytes > this.device.limits.maxBufferSize)
      throw new OutOfMemoryError(
        `[${label}] wanted ${formatBytes(bytes)} in one buffer; this adapter allows ${formatBytes(this.device.limits.maxBufferSize)}.`,
      );
    const buffer = this.device.createBuffer({ size: bytes, usage: USAGE, label });
    this.created++;
    this.reservedBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.reservedBytes);
    return { id: this.nextId++, buffer, bytes, home: this.active };
  }
}
