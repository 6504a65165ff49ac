/**
 * GPU buffers by size class, with exact accounting. A released buffer can be reused at once: all commands run in order on
 * one queue, so its next user writes after its last reader has read.
 */
import type { DeviceMemory } from './memory.js';

/** A buffer of the pool. */
export interface PoolBuffer {
  /** Never reused: bind groups are cached by it. */
  readonly id: number;
  readonly buffer: GPUBuffer;
  /** Capacity in bytes, the size class. */
  readonly bytes: number;
  readonly home: FreeList;
}

/** A range of a buffer, as a kernel binds it. */
export interface Region {
  readonly buffer: PoolBuffer;
  /** In bytes; a multiple of the adapter's storage alignment. */
  readonly offset: number;
  /** Exact, so that a kernel can reach nothing beyond the range. */
  readonly bytes: number;
}

/** Free buffers by capacity. A recording has a list of its own, so that nothing else gets its buffers. */
export type FreeList = Map<number, PoolBuffer[]>;

/** Eight classes for each power of two, so at most an eighth is wasted; multiples of 256 bytes keep offsets aligned. */
export function sizeClass(bytes: number): number {
  const granule = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(bytes, 1))) - 3));
  return Math.ceil(bytes / granule) * granule;
}

const USAGE = 0x80 | 0x08 | 0x04; // STORAGE | COPY_DST | COPY_SRC

/** The buffers of a device. A released one serves the next tensor of its size, in the order of the queue. */
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
  /** True if the active list had buffers before its body began: those of other recordings. */
  private borrowing = false;
  /** Buffers that the driver refused after they were handed out. They are never handed out again. */
  private readonly refused = new WeakSet<PoolBuffer>();

  constructor(
    private readonly memory: DeviceMemory,
    private readonly onDestroyed: () => void,
  ) {}

  /** A buffer of at least so many bytes. Throws an OutOfMemoryError if the budget of the device does not allow it. */
  acquire(bytes: number, label: string): PoolBuffer {
    const capacity = sizeClass(bytes);
    const buffer = this.active.get(capacity)?.pop() ?? this.larger(capacity) ?? this.create(capacity, label);
    this.liveBytes += buffer.bytes;
    return buffer;
  }

  /** Takes a buffer back. */
  release(buffer: PoolBuffer): void {
    this.liveBytes -= buffer.bytes;
    if (this.refused.has(buffer)) return;
    const list = buffer.home.get(buffer.bytes);
    if (list) list.push(buffer);
    else buffer.home.set(buffer.bytes, [buffer]);
  }

  /** Runs `body` with `list` as the free list: buffers acquired inside return to it when released. */
  withList<T>(list: FreeList, body: () => T): T {
    const { active, borrowing } = this;
    this.active = list;
    this.borrowing = list.size > 0;
    try {
      return body();
    } finally {
      Object.assign(this, { active, borrowing });
    }
  }

  /** Destroys every free buffer of a list, by default the common one. */
  trim(list: FreeList = this.common): void {
    for (const buffers of list.values())
      for (const { buffer, bytes } of buffers) {
        this.memory.free(buffer, bytes);
        this.reservedBytes -= bytes;
      }
    list.clear();
    this.onDestroyed();
  }

  /**
   * The smallest free buffer of more than `bytes` that another recording left: the step of a smaller last batch then
   * needs no memory of its own. A first recording takes exact sizes, because a small tensor in a large buffer would
   * make the next large one cost another.
   */
  private larger(bytes: number): PoolBuffer | undefined {
    if (!this.borrowing) return undefined;
    const sizes = [...this.active].flatMap(([size, free]) => (size > bytes && free.length > 0 ? size : []));
    return this.active.get(Math.min(...sizes))?.pop();
  }

  private create(bytes: number, label: string): PoolBuffer {
    const buffer = this.memory.buffer(bytes, USAGE, label, () => this.disown(made));
    const made = { id: this.nextId++, buffer, bytes, home: this.active };
    this.created++;
    this.reservedBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.reservedBytes);
    return made;
  }

  private disown(buffer: PoolBuffer): void {
    this.reservedBytes -= buffer.bytes;
    this.refused.add(buffer);
    const list = buffer.home.get(buffer.bytes);
    if (list?.includes(buffer)) list.splice(list.indexOf(buffer), 1);
  }
}
