/** Textures that buffers are staged through, by power-of-two height; lent for one dispatch, so a few serve all. */
import { TEXELS_PER_ROW } from './commands.js';

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

  constructor(private readonly device: GPUDevice) {}

  /** Whether a buffer of so many bytes fits one texture. */
  fits(bytes: number): boolean {
    return bytes <= this.device.limits.maxTextureDimension2D * TEXELS_PER_ROW * 16;
  }

  acquire(texels: number): StagingTexture {
    const height = 2 ** Math.ceil(Math.log2(Math.ceil(texels / TEXELS_PER_ROW)));
    const known = this.free.get(height)?.pop();
    if (known) return known;
    const texture = this.device.createTexture({
      size: [TEXELS_PER_ROW, height],
      format: 'rgba32float',
      usage: USAGE,
    });
    this.bytes += TEXELS_PER_ROW * height * 16;
    return { id: this.nextId++, texture, view: texture.createView(), height };
  }

  release(staging: StagingTexture): void {
    const list = this.free.get(staging.height);
    if (list) list.push(staging);
    else this.free.set(staging.height, [staging]);
  }
}
