/** A shaped view of GPU memory. Row-major, contiguous; storage is shared by reference count. */
import { fromHalfBits } from '../core/half.js';
import { formatShape, numel, type Shape } from '../core/shape.js';
import type { Gpu } from '../gpu/gpu.js';
import type { PoolBuffer, Region } from '../gpu/pool.js';
import { adopt } from './scope.js';

/** The type of elements: floats of 32 or 16 bits, unsigned integers of 32 or 8. */
export type DType = 'f32' | 'f16' | 'u32' | 'u8';
/** Host data that a tensor is made from. A Uint16Array has the bits of f16. */
export type HostArray =
  | Float32Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

const BYTES: Record<DType, number> = { f32: 4, f16: 2, u32: 4, u8: 1 };
// Kernels that work on vec4 touch whole vec4s, so storage is padded to the end of the last one.
const QUAD = 16;

interface Storage {
  buffer: PoolBuffer | null;
  references: number;
}

/** A tensor on a device: row-major and contiguous, of `shape` and `dtype`. Released by its scope, or by `release`. */
export class Tensor implements Region {
  /** Set on parameters, and by the tape on tensors computed from them. */
  requiresGrad = false;
  /** The gradient that a backward pass writes. A parameter's is a part of the arena; other tensors get one as needed. */
  grad: Tensor | null = null;
  /** The same values in f16, which products in mixed precision read. Code that changes the values must update it. */
  half: Tensor | null = null;

  private constructor(
    readonly gpu: Gpu,
    readonly shape: Shape,
    readonly dtype: DType,
    private readonly storage: Storage,
    readonly offset: number,
    readonly label: string,
  ) {
    adopt(this);
  }

  /** A tensor with uninitialised memory. It lives until its scope ends or, outside of scopes, until `release`. */
  static empty(gpu: Gpu, shape: Shape, dtype: DType = 'f32', label = ''): Tensor {
    const bytes = Math.ceil((numel(shape) * BYTES[dtype]) / QUAD) * QUAD;
    const storage = { buffer: gpu.pool.acquire(bytes, label), references: 1 };
    return new Tensor(gpu, shape, dtype, storage, 0, label);
  }

  /** A tensor of zeros. It lives as long as one of `empty`. */
  static zeros(gpu: Gpu, shape: Shape, dtype: DType = 'f32', label = ''): Tensor {
    const tensor = Tensor.empty(gpu, shape, dtype, label);
    gpu.clear(tensor);
    return tensor;
  }

  /** Copies `data` to the device; its type decides the dtype. */
  static from(gpu: Gpu, data: HostArray, shape: Shape = [data.length], label = ''): Tensor {
    const dtype = dtypeOf(data);
    if (data.length !== numel(shape))
      throw new RangeError(`${data.length} values cannot fill a tensor of shape ${formatShape(shape)}.`);
    const tensor = Tensor.empty(gpu, shape, dtype, label);
    gpu.upload(tensor, data);
    return tensor;
  }

  /** A view with another shape, or of a part of the tensor that starts at element `elements`. Shares its memory. */
  view(shape: Shape, elements = 0, label = this.label): Tensor {
    this.retain();
    const offset = this.offset + elements * BYTES[this.dtype];
    const tensor = new Tensor(this.gpu, shape, this.dtype, this.storage, offset, label);
    return tensor;
  }

  get size(): number {
    return numel(this.shape);
  }

  get bytes(): number {
    return this.size * BYTES[this.dtype];
  }

  /** Bits of an element, 16 or 32: the value for a kernel's `alias NAME = f32; // tune` line. */
  get bits(): number {
    return 8 * BYTES[this.dtype];
  }

  /** The pool's buffer. Throws after the last release, so that no kernel uses memory that may belong to another tensor. */
  get buffer(): PoolBuffer {
    if (!this.storage.buffer) throw new Error(`${this} was used after its memory was released.`);
    return this.storage.buffer;
  }

  /** True if another tensor shares the memory. */
  get shared(): boolean {
    return this.storage.references > 1;
  }

  /** Replaces the values. `data` has as many elements, of the tensor's dtype. */
  upload(data: HostArray): void {
    this.gpu.upload(this, data);
  }

  /** The values of an f32 or f16 tensor, read back as float32. */
  async toFloat32(): Promise<Float32Array<ArrayBuffer>> {
    const bytes = await this.gpu.read(this);
    return this.dtype === 'f16'
      ? Float32Array.from(new Uint16Array(bytes), fromHalfBits)
      : new Float32Array(bytes);
  }

  /** The values of a u32 tensor, read back. */
  async toUint32(): Promise<Uint32Array<ArrayBuffer>> {
    return new Uint32Array(await this.gpu.read(this));
  }

  /** Counts one more owner, who must `release` it. */
  retain(): this {
    this.storage.references++;
    return this;
  }

  /** Gives the memory back to the pool, unless others own it too. */
  release(): void {
    const { storage } = this;
    if (--storage.references > 0 || !storage.buffer) return;
    this.gpu.pool.release(storage.buffer);
    storage.buffer = null;
  }

  toString(): string {
    return `${this.label || 'tensor'} ${formatShape(this.shape)}`;
  }
}

function dtypeOf(data: HostArray): DType {
  if (data instanceof Float32Array) return 'f32';
  if (data instanceof Uint16Array) return 'f16';
  return data instanceof Uint32Array ? 'u32' : 'u8';
}
