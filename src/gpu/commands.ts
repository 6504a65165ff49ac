/**
 * Commands for the GPU as plain records, in order. A flush encodes them. A recorded step keeps them: playing it encodes
 * the same records again, without building a graph, a buffer or a bind group.
 */
import type { Compiled } from './pipeline.js';
import type { FreeList } from './pool.js';
import type { Profiler } from './profile.js';

export interface Dispatch {
  readonly kind: 'dispatch';
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

/** Copies a buffer into a texture, 16 bytes a texel and TEXELS_PER_ROW texels a row, for kernels that read textures. */
export interface Stage {
  readonly kind: 'stage';
  /** Arguments of copyBufferToTexture, made once: one copy for the whole rows, one for a last, shorter row. */
  readonly copies: readonly [GPUTexelCopyBufferInfo, GPUTexelCopyTextureInfo, readonly [number, number]][];
}

export type Command = Dispatch | Copy | Clear | Stage;

/** The commands of one step, and the free list that their buffers belong to. */
export interface Recording {
  readonly commands: readonly Command[];
  readonly buffers: FreeList;
}

export const TEXELS_PER_ROW = 1024;
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

/** The command that copies texels of a buffer, from `offset` on, into a texture. */
export function stage(buffer: GPUBuffer, offset: number, texels: number, texture: GPUTexture): Stage {
  const rows = Math.floor(texels / TEXELS_PER_ROW);
  const rest = texels - rows * TEXELS_PER_ROW;
  const bytesPerRow = TEXELS_PER_ROW * TEXEL_BYTES;
  const copies: [GPUTexelCopyBufferInfo, GPUTexelCopyTextureInfo, readonly [number, number]][] = [];
  if (rows > 0) copies.push([{ buffer, offset, bytesPerRow }, { texture }, [TEXELS_PER_ROW, rows]]);
  if (rest > 0)
    copies.push([{ buffer, offset: offset + rows * bytesPerRow }, { texture, origin: [0, rows] }, [rest, 1]]);
  return { kind: 'stage', copies };
}

// Not yet in the type definitions of WebGPU.
export function setImmediates(pass: GPUComputePassEncoder, data: ArrayBuffer): void {
  (pass as unknown as { setImmediates(offset: number, data: BufferSource): void }).setImmediates(0, data);
}
