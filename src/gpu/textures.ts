/** Staging textures, which hold a copy of a buffer. Few are needed, as most serve one dispatch. */
import { LAYER_TEXELS, TEXELS_PER_ROW } from './commands.js';
import type { DeviceMemory } from './memory.js';
import type { Region } from './pool.js';

/** The order of a buffer's texels (four floats each) in a staging texture, by the kind of binding that reads it. */
export type Layout =
  /** One after another, in rows of TEXELS_PER_ROW texels. */
  | { readonly kind: 'texture'; readonly texels: number }
  /** A matrix in layers of 64 columns: a row of a layer is a row of the matrix. `columns` is a multiple of 64. */
  | { readonly kind: 'layers'; readonly rows: number; readonly columns: number };

/** An operand of a kernel: a range of a buffer, and the columns of the matrix there if the kernel reads it in layers. */
export interface Operand extends Region {
  readonly columns?: number;
}

type Size = readonly [width: number, height: number, layers: number];

export interface StagingTexture {
  readonly id: number;
  readonly texture: GPUTexture;
  readonly view: GPUTextureView;
  readonly bytes: number;
  /** Equal for textures of one layout and size, which can take each other's place. */
  readonly key: string;
}

/** Width, height and layers. Heights of linear textures are powers of two, so that a texture serves buffers of many sizes. */
function sizeOf(layout: Layout): Size {
  if (layout.kind === 'layers') return [LAYER_TEXELS, layout.rows, layout.columns / 4 / LAYER_TEXELS];
  return [TEXELS_PER_ROW, 2 ** Math.ceil(Math.log2(Math.ceil(layout.texels / TEXELS_PER_ROW))), 1];
}

const USAGE = 0x02 | 0x08; // COPY_DST | STORAGE_BINDING

export class TexturePool {
  private readonly free = new Map<string, StagingTexture[]>();
  private nextId = 0;
  bytes = 0;

  constructor(private readonly memory: DeviceMemory) {}

  acquire(layout: Layout): StagingTexture {
    const size = sizeOf(layout);
    const key = `${layout.kind} ${size}`;
    const known = this.free.get(key)?.pop();
    if (known) return known;
    const bytes = 16 * size[0] * size[1] * size[2];
    const texture = this.memory.texture(size, USAGE, 'staging texture', () => {
      this.bytes -= bytes;
      this.forget(made);
    });
    const dimension = layout.kind === 'layers' ? '2d-array' : '2d';
    const made = { id: this.nextId++, texture, view: texture.createView({ dimension }), bytes, key };
    this.bytes += bytes;
    return made;
  }

  release(staging: StagingTexture): void {
    const list = this.free.get(staging.key);
    if (list) list.push(staging);
    else this.free.set(staging.key, [staging]);
  }

  // A refusal arrives between dispatches, when the texture is free, or staged and soon released.
  private forget({ id, key }: StagingTexture): void {
    const list = this.free.get(key) ?? [];
    this.free.set(
      key,
      list.filter((staging) => staging.id !== id),
    );
  }
}

/** How many staged buffers are remembered: the operands of a layer's two backward products, and a few more. */
const REMEMBERED = 6;
/** How many textures of at most 1 MiB: enough to keep a small model's weights from forward to backward pass. */
const REMEMBERED_SMALL = 96;
const isSmall = ({ bytes }: StagingTexture): boolean => bytes <= 1 << 20;

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

  /** A texture for a buffer from `offset` on; `fill` is true if the buffer must be copied to it first. */
  take(buffer: number, offset: number, layout: Layout): { staging: StagingTexture; fill: boolean } {
    const key = `${buffer}+${offset}:${Object.values(layout)}`;
    const version = this.writes.get(buffer) ?? 0;
    const known = this.staged.get(key);
    if (known) this.staged.delete(key); // moves it to the end: the Map's first entry is the least recently used
    const staging = known?.staging ?? this.pool.acquire(layout);
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

/** The layout of a buffer's range for a kind of binding; `columns` are those of a matrix in layers. */
export const layoutOf = (kind: Layout['kind'], { bytes, columns = 0 }: Operand): Layout =>
  kind === 'layers' ? { kind, rows: bytes / 4 / columns, columns } : { kind, texels: Math.ceil(bytes / 16) };
