/** Bind groups by their contents, so that a recorded step and a loop over the same buffers make none anew. */
import { LimitError } from '../core/errors.js';
import type { Diagnostics } from './diagnostics.js';
import type { DeviceMemory } from './memory.js';
import type { Compiled, Kernel } from './pipeline.js';
import type { Region } from './pool.js';
import type { StagingTexture } from './textures.js';

const MAX_BIND_GROUPS = 16384;
const UNIFORM = 0x40 | 0x08; // UNIFORM | COPY_DST

export class BindGroups {
  private readonly groups = new Map<string, GPUBindGroup>();
  private readonly uniforms = new Map<string, GPUBuffer>();

  constructor(
    private readonly device: GPUDevice,
    private readonly memory: DeviceMemory,
    /** Parameters travel as immediates, and need no uniform buffer. */
    private readonly immediates: boolean,
    private readonly diagnostics: Diagnostics,
  ) {}

  /** The bind group of these operands, in binding order, and of these parameters. */
  get(
    compiled: Compiled,
    resources: readonly (Region | StagingTexture)[],
    params: Uint32Array<ArrayBuffer> | null,
  ): GPUBindGroup {
    let key = `${compiled.id}`;
    for (const it of resources)
      key += 'texture' in it ? `t${it.id}` : `b${it.buffer.id}+${it.offset}:${it.bytes}`;
    const uniform = params && !this.immediates ? params.join() : '';
    key += uniform;
    const known = this.groups.get(key);
    if (known) return known;
    const entries: GPUBindGroupEntry[] = resources.map((it, binding) => ({
      binding,
      resource:
        'texture' in it
          ? it.view
          : { buffer: it.buffer.buffer, offset: it.offset, size: this.boundBytes(compiled.kernel, it) },
    }));
    if (params && uniform)
      entries.push({ binding: entries.length, resource: { buffer: this.uniform(uniform, params) } });
    const group = this.device.createBindGroup({ layout: compiled.layout, entries });
    this.diagnostics.counts.bindGroups++;
    if (this.groups.size >= MAX_BIND_GROUPS) this.groups.clear();
    this.groups.set(key, group);
    return group;
  }

  /** Forgets every bind group: a buffer that one of them holds was destroyed. */
  clear(): void {
    this.groups.clear();
  }

  /** Also forgets the uniform buffers: the driver may have refused memory for one of them. */
  distrust(): void {
    this.groups.clear();
    this.uniforms.clear();
  }

  // Storage covers whole vec4s, so a kernel that works on vec4 may bind the one that holds the last element.
  private boundBytes({ name }: Kernel, { buffer, offset, bytes }: Region): number {
    const size = Math.min(Math.ceil(bytes / 16) * 16 + this.diagnostics.slackBytes, buffer.bytes - offset);
    const most = this.device.limits.maxStorageBufferBindingSize;
    if (size > most)
      throw new LimitError(
        `[${name}] binds ${size} bytes at once; this adapter allows ${most}. A smaller batch size needs less.`,
      );
    return size;
  }

  // Parameters are shapes and constants, which recur every step, so a buffer is kept for each distinct set of them.
  private uniform(key: string, params: Uint32Array<ArrayBuffer>): GPUBuffer {
    let buffer = this.uniforms.get(key);
    if (!buffer) {
      buffer = this.memory.buffer(Math.ceil(params.byteLength / 16) * 16, UNIFORM, 'parameters');
      this.device.queue.writeBuffer(buffer, 0, params);
      this.uniforms.set(key, buffer);
    }
    return buffer;
  }
}
