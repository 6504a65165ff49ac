/**
 * Compiling ahead, for software adapters. Their driver compiles each kernel on the CPU when it first runs and caches the
 * result on disk. A second process compiles the kernels of a long submission from the last to the first, while this
 * process runs them from the first to the last. Once the two meet, the remaining kernels are in the cache.
 */
import { type Command, setImmediates, TEXELS_PER_ROW } from './commands.js';
import { DeviceErrors } from './device_errors.js';
import { type Compiled, PipelineCache, type Specialised } from './pipeline.js';

/** The file that the other process reads: the adapter's name, and the kernels in the order to compile them. */
export interface CompileJob {
  readonly adapter: string;
  readonly kernels: readonly Specialised[];
}

/** With fewer new kernels than this, starting a process costs more than it saves. */
const WORTH_IT = 8;

/** A job with the pipelines of a submission that have not run before, last ones first; null if they are few. */
export function jobFor(
  adapter: string,
  commands: readonly Command[],
  known: Set<Compiled>,
): CompileJob | null {
  const fresh: Compiled[] = [];
  for (const command of commands)
    if (command.kind === 'dispatch' && !known.has(command.compiled)) {
      known.add(command.compiled);
      fresh.push(command.compiled);
    }
  if (fresh.length < WORTH_IT) return null;
  return {
    adapter,
    kernels: fresh.reverse().map(({ kernel, specialisation }) => ({ kernel, specialisation })),
  };
}

// Size of the buffers bound as operands. With zero workgroups, nothing is read or written.
const QUAD_BYTES = 16;

/** Compiles kernels on `device`, in order, by dispatching zero workgroups of each. */
export function compileAll(device: GPUDevice, immediates: boolean, kernels: readonly Specialised[]): void {
  const cache = new PipelineCache(device, immediates, new DeviceErrors()); // the process that runs them reports errors
  const buffer = (usage: number, size = QUAD_BYTES) => device.createBuffer({ size, usage });
  // One buffer for each binding, because WebGPU forbids binding a writable buffer twice.
  const most = Math.max(...kernels.map(({ kernel }) => kernel.interface.bindings.length));
  const storage = Array.from({ length: most }, () => buffer(0x80));
  const uniform = buffer(0x40, 64);
  // Dawn drops a direct dispatch of zero workgroups; an indirect one, whose size is in a buffer, reaches the driver.
  const zeroGroups = buffer(0x100);
  const texture = device.createTexture({ size: [TEXELS_PER_ROW, 1], format: 'rgba32float', usage: 0x08 });
  const views = {
    texture: texture.createView({ dimension: '2d' }),
    layers: texture.createView({ dimension: '2d-array' }),
  };
  for (const { kernel, specialisation } of kernels) {
    const { pipeline, layout, bindings } = cache.get(kernel, specialisation);
    const { fields } = kernel.interface;
    const entries: GPUBindGroupEntry[] = bindings.map(({ kind }, binding) => ({
      binding,
      resource:
        kind === 'texture' || kind === 'layers' ? views[kind] : { buffer: storage[binding] as GPUBuffer },
    }));
    if (fields.length > 0 && !immediates)
      entries.push({ binding: entries.length, resource: { buffer: uniform } });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    if (fields.length > 0 && immediates) setImmediates(pass, new ArrayBuffer(4 * fields.length));
    pass.dispatchWorkgroupsIndirect(zeroGroups, 0);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }
}
