/** Staging textures, which hold a copy of a buffer. Heights are powers of two; few are needed, as most serve one dispatch. */
import { TEXELS_PER_ROW } from './commands.js';
import type { DeviceMemory } from './memory.js';

export interface StagingTexture {
  readonly id: number;
  readonly texture: GPUTexture;
  readonly view: GPUTextureView;
  readonly height: number;
}

const USAGE = 0x02 | 0x08; // COPY_DST | STORAGE_BINDING

export class TexturePool {
  private readonly free = new Map<number, StagingTexture[]>();
  private nextId = 0;
  bytes = 0;

  constructor(private readonly memory: DeviceMemory) {}

  acquire(texels: number): StagingTexture {
    const height = 2 ** Math.ceil(Math.log2(Math.ceil(texels / TEXELS_PER_ROW)));
    const known = this.free.get(height)?.pop();
    if (known) return known;
    const bytes = TEXELS_PER_ROW * height * 16;
    const texture = this.memory.texture(TEXELS_PER_ROW, height, USAGE, 'staging texture', () => {
      this.bytes -= bytes;
      this.forget(made);
    });
    const made = { id: this.nextId++, texture, view: texture.createView(), height };
    this.bytes += bytes;
    return made;
  }

  release(staging: StagingTexture): void {
    const list = this.free.get(staging.height);
    if (list) list.push(staging);
    else this.free.set(staging.height, [staging]);
  }

  // A refusal arrives between dispatches, when the texture is free, or staged and soon released.
  private forget({ id, height }: StagingTexture): void {
    const list = this.free.get(height) ?? [];
    this.free.set(
      height,
      list.filter((staging) => staging.id !== id),
    );
  }
}

/** How many staged buffers are remembered: the operands of a layer's two backward products, and a few more. */
const REMEMBERED = 6;
/** How many textures of at most 64 rows (1 MiB): enough to keep a small model's weights from forward to backward pass. */
const REMEMBERED_SMALL = 96;
const isSmall = ({ height }: StagingTexture): boolean => height <= 64;

interface Staged {
  readonly staging: StagingTexture;
  /** The buffer's count of writes when it was staged. */
  readonly version: number;
}

/**
 * Remembers which texture holds a copy of which buffer. A gradient is an operand of two products in a row, and is copied
 * only once. A buffer that was written since is copied again.
 */
export class StagedBuffers {
  private readonly staged = new Map<string, Staged>();
  private readonly writes = new Map<number, number>();

  constructor(private readonly pool: TexturePool) {}

  /** A texture for `texels` texels of a buffer; `fill` is true if the buffer must be copied to it first. */
  take(buffer: number, offset: number, texels: number): { staging: StagingTexture; fill: boolean } {
    const key = `${buffer}+${offset}:${texels}`;
    const version = this.writes.get(buffer) ?? 0;
    const known = this.staged.get(key);
    if (known) this.staged.delete(key); // moves it to the end: the Map's first entry is the least recently used
    const staging = known?.staging ?? this.pool.acquire(texels);
    this.staged.set(key, { staging, version });
    return { staging, fill: known?.version !== version };
  }

  /** Releases all but the latest. Called between dispatches, because the operands of one must not share a texture. */
  trim(most = REMEMBERED, mostSmall = REMEMBERED_SMALL): void {
    const all = [...this.staged.values()];
    let small = all.filter(({ staging }) => isSmall(staging)).length;
    let large = all.length - small;
    for (const [key, { staging }] of this.staged) {
      const surplus = isSmall(staging) ? small > mostSmall : large > most;
      if (!surplus) continue;
      if (isSmall(staging)) small--;
      else large--;
      this.staged.delete(key);
      this.pool.release(staging);
    }
  }

  /** Releases all textures. */
  clear(): void {
    this.trim(0, 0);
  }

  wrote(buffer: number): void {
    this.writes.set(buffer, (this.writes.get(buffer) ?? 0) + 1);
  }
}
