/** The one place where device memory is allocated. It counts bytes against a budget and names what the driver refused. */
import { LimitError, OutOfMemoryError } from '../core/errors.js';
import type { DeviceErrors } from './device_errors.js';

export const formatBytes = (bytes: number): string =>
  bytes >= 1e9
    ? `${(bytes / 1e9).toFixed(2)} GB`
    : bytes >= 1e6
      ? `${(bytes / 1e6).toFixed(1)} MB`
      : `${bytes} B`;

/** The owner of the memory, which is called when memory is short. */
export interface MemoryOwner {
  /** Destroys, by `free`, the buffers that nobody holds. */
  reclaim(): void;
  /** Forgets all objects made from memory that the driver may have refused. */
  distrust(): void;
}

export class DeviceMemory {
  /** Bytes in all buffers and textures that exist, free ones of pools included. */
  usedBytes = 0;
  /** The highest usedBytes so far. */
  peakBytes = 0;
  /** Destroyed buffers and textures. A refusal that arrives later must not subtract their bytes again. */
  private readonly gone = new WeakSet<GPUBuffer | GPUTexture>();

  constructor(
    private readonly device: GPUDevice,
    /** The most bytes of all buffers and textures together; Infinity for no limit. */
    readonly budgetBytes: number,
    private readonly errors: DeviceErrors,
    private readonly owner: MemoryOwner,
  ) {}

  /**
   * Allocates a buffer. Throws OutOfMemoryError if the budget or the driver refuses at once. If the driver refuses later,
   * the error is reported, the bytes no longer count, and `refused` is called: the buffer is invalid.
   */
  buffer(bytes: number, usage: number, label: string, refused: () => void = () => {}): GPUBuffer {
    const { maxBufferSize } = this.device.limits;
    if (bytes > maxBufferSize)
      throw new OutOfMemoryError(
        `[${label}] wanted ${formatBytes(bytes)} in one buffer; this adapter allows ${formatBytes(maxBufferSize)}.`,
      );
    return this.create(bytes, label, () => this.device.createBuffer({ size: bytes, usage, label }), refused);
  }

  /** Allocates a texture of 16 bytes a texel, as `buffer` does. Throws LimitError if the adapter allows no such size. */
  texture(
    [width, height, layers]: readonly [number, number, number],
    usage: number,
    label: string,
    refused: () => void,
  ): GPUTexture {
    const most = this.device.limits.maxTextureDimension2D;
    if (Math.max(width, height) > most)
      throw new LimitError(
        `[${label}] wanted a texture of ${width} x ${height}; this adapter allows ${most} x ${most}. A smaller batch size needs less.`,
      );
    const create = () =>
      this.device.createTexture({ size: [width, height, layers], format: 'rgba32float', usage, label });
    return this.create(16 * width * height * layers, label, create, refused);
  }

  /** Destroys a buffer or texture of `bytes`. */
  free(resource: GPUBuffer | GPUTexture, bytes: number): void {
    resource.destroy();
    this.gone.add(resource);
    this.usedBytes -= bytes;
  }

  private create<T extends GPUBuffer | GPUTexture>(
    bytes: number,
    label: string,
    create: () => T,
    refused: () => void,
  ): T {
    const exceeds = () => this.usedBytes + bytes > this.budgetBytes;
    if (exceeds()) this.owner.reclaim();
    if (exceeds()) throw this.shortage(bytes, label);
    const { made, answer } = this.ask(bytes, label, create);
    this.usedBytes += bytes;
    this.peakBytes = Math.max(this.peakBytes, this.usedBytes);
    const hear = (error: GPUError | null) => {
      if (!error) return;
      this.errors.fail(this.shortage(bytes, label, error.message), true);
      if (this.gone.has(made)) return;
      this.usedBytes -= bytes;
      this.owner.distrust();
      refused();
    };
    this.errors.expect(answer.then(hear));
    return made;
  }

  /** The new buffer or texture, and a promise of the driver's error, null if it granted the memory. */
  private ask<T>(
    bytes: number,
    label: string,
    create: () => T,
  ): { made: T; answer: Promise<GPUError | null> } {
    this.device.pushErrorScope('out-of-memory');
    let made: T;
    try {
      made = create();
    } catch (error) {
      this.device.popErrorScope().catch(() => {});
      throw this.shortage(bytes, label, (error as Error).message);
    }
    return { made, answer: this.device.popErrorScope() };
  }

  private shortage(bytes: number, label: string, driver?: string): OutOfMemoryError {
    const budget = Number.isFinite(this.budgetBytes)
      ? ` of a budget of ${formatBytes(this.budgetBytes)}`
      : '';
    const said = driver === undefined ? '' : ` (the driver: ${driver.split('\n')[0]})`;
    return new OutOfMemoryError(
      `[${label || 'tensor'}] out of memory: wanted ${formatBytes(bytes)}, live ${formatBytes(this.usedBytes)}${budget}, ` +
        `peak ${formatBytes(this.peakBytes)}${said}. A smaller batch size needs less.`,
    );
  }
}
