/**
 * Commands for the GPU as plain records, in order. A flush encodes them. A recorded step keeps them: playing it encodes
 * the same records again, without building a graph, a buffer or a bind group.
 */
import type { Compiled } from './pipeline.js';
import type { FreeList } from './pool.js';
import type { Profiler } from './profile.js';
import type { Layout } from './textures.js';

/** The op that a dispatch belongs to, for profiles. */
export interface Origin {
  readonly op: string;
  readonly pass: 'forward' | 'backward';
  /** The name of the op's first parameter, such as `blocks.0.attn.qkv.weight`; empty for an op without parameters. */
  readonly parameter: string;
  /** Floating-point operations of the pass, a multiply-add being two. */
  readonly flops: number;
}

export interface Dispatch {
  readonly kind: 'dispatch';
  /** Null outside of ops: the optimizer, the batch. */
  readonly origin: Origin | null;
  readonly compiled: Compiled;
  readonly bindGroup: GPUBindGroup;
  /** An ArrayBuffer and not a view of one: Dawn's Node binding takes it in a quarter of the time. */
  readonly immediates: ArrayBuffer | null;
  readonly groups: readonly [number, number, number];
}

export interface Copy {
  readonly kind: 'copy';
  readonly from: GPUBuffer;
  readonly fromOffset: number;
  readonly to: GPUBuffer;
  readonly toOffset: number;
  readonly bytes: number;
}

export interface Clear {
  readonly kind: 'clear';
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly bytes: number;
}

/** Copies a buffer into a texture, 16 bytes a texel, for kernels that read textures. */
export interface Stage {
  readonly kind: 'stage';
  /** Arguments of copyBufferToTexture, made once. */
  readonly copies: readonly [GPUTexelCopyBufferInfo, GPUTexelCopyTextureInfo, readonly [number, number]][];
}

export type Command = Dispatch | Copy | Clear | Stage;

/** The commands of one step, and the free list that their buffers belong to. */
export interface Recording {
  readonly commands: readonly Command[];
  readonly buffers: FreeList;
  /** Floating-point operations of its matrix products and attention. */
  readonly flops: number;
}

export const TEXELS_PER_ROW = 1024;
/** Texels in a row of a layer: 64 columns of a matrix, and 256 bytes, the unit of copies to a texture. */
export const LAYER_TEXELS = 16;
const TEXEL_BYTES = 16;

export function encode(
  encoder: GPUCommandEncoder,
  commands: readonly Command[],
  profiler: Profiler | null,
): void {
  let pass: GPUComputePassEncoder | null = null;
  let bound: Compiled | null = null;
  for (const command of commands) {
    if (command.kind === 'dispatch') {
      if (profiler?.enabled) {
        pass?.end();
        pass = encoder.beginComputePass(profiler.pass(command));
        bound = null;
      }
      pass ??= encoder.beginComputePass();
      if (bound !== command.compiled) pass.setPipeline(command.compiled.pipeline);
      bound = command.compiled;
      pass.setBindGroup(0, command.bindGroup);
      if (command.immediates) setImmediates(pass, command.immediates);
      const [x, y, z] = command.groups;
      pass.dispatchWorkgroups(x, y, z);
      continue;
    }
    pass?.end();
    pass = bound = null;
    if (command.kind === 'copy')
      encoder.copyBufferToBuffer(
        command.from,
        command.fromOffset,
        command.to,
        command.toOffset,
        command.bytes,
      );
    else if (command.kind === 'clear') encoder.clearBuffer(command.buffer, command.offset, command.bytes);
    else for (const [from, to, size] of command.copies) encoder.copyBufferToTexture(from, to, size);
  }
  pass?.end();
}

type Copies = Stage['copies'];

/** The command that copies a buffer, from `offset` on, into a texture of the given layout. */
export const stage = (buffer: GPUBuffer, offset: number, layout: Layout, texture: GPUTexture): Stage => ({
  kind: 'stage',
  copies:
    layout.kind === 'layers'
      ? layerCopies(buffer, offset, layout, texture)
      : linearCopies(buffer, offset, layout, texture),
});

/** One copy for the whole rows, one for a last, shorter row. */
function linearCopies(
  buffer: GPUBuffer,
  offset: number,
  { texels }: Extract<Layout, { kind: 'texture' }>,
  texture: GPUTexture,
): Copies {
  const rows = Math.floor(texels / TEXELS_PER_ROW);
  const rest = texels - rows * TEXELS_PER_ROW;
  const bytesPerRow = TEXELS_PER_ROW * TEXEL_BYTES;
  const copies: [GPUTexelCopyBufferInfo, GPUTexelCopyTextureInfo, readonly [number, number]][] = [];
  if (rows > 0) copies.push([{ buffer, offset, bytesPerRow }, { texture }, [TEXELS_PER_ROW, rows]]);
  if (rest > 0)
    copies.push([{ buffer, offset: offset + rows * bytesPerRow }, { texture, origin: [0, rows] }, [rest, 1]]);
  return copies;
}

/** One copy for each layer. */
const layerCopies = (
  buffer: GPUBuffer,
  offset: number,
  { rows, columns }: Extract<Layout, { kind: 'layers' }>,
  texture: GPUTexture,
): Copies =>
  Array.from({ length: columns / 4 / LAYER_TEXELS }, (_, layer) => [
    { buffer, offset: offset + layer * LAYER_TEXELS * TEXEL_BYTES, bytesPerRow: 4 * columns },
    { texture, origin: [0, 0, layer] },
    [LAYER_TEXELS, rows],
  ]);

// Not yet in the type definitions of WebGPU.
export function setImmediates(pass: GPUComputePassEncoder, data: ArrayBuffer): void {
  (pass as unknown as { setImmediates(offset: number, data: BufferSource): void }).setImmediates(0, data);
}
