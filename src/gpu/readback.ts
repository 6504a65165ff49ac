/** Staging buffers for reading back, by size. A buffer is reused by the next read of the same size. */
import type { DeviceMemory } from './memory.js';

const USAGE = 0x08 | 0x01; // COPY_DST | MAP_READ

export class ReadbackBuffers {
  private readonly free = new Map<number, GPUBuffer[]>();

  constructor(private readonly memory: DeviceMemory) {}

  acquire(bytes: number): GPUBuffer {
    return this.free.get(bytes)?.pop() ?? this.memory.buffer(bytes, USAGE, 'readback');
  }

  release(buffer: GPUBuffer, bytes: number): void {
    const list = this.free.get(bytes);
    if (list) list.push(buffer);
    else this.free.set(bytes, [buffer]);
  }

  /** Destroys every free buffer. */
  trim(): void {
    for (const [bytes, buffers] of this.free) for (const buffer of buffers) this.memory.free(buffer, bytes);
    this.free.clear();
  }
}
